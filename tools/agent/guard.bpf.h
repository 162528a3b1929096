// What the guard's BPF programs and the agent share. C, for both.
#pragma once

#include <linux/types.h>

// By key 0; the agent maps it.
struct guard_state {
    // Nothing leaves the service addresses while these differ: a death that the agent has not heard of yet cannot be
    // passed over by what it decided before.
    __u32 deaths;   // counted in the kernel
    __u32 opened;   // the number of the latest death after which the agent let frames out again
    __u32 members;  // processes that are watched
};

// Values of the members, by process.
enum { guard_member = 1, guard_main = 2 };

// One for each end that was the service's.
struct guard_death {
    __u32 number;  // from 1; see guard_state
    __u32 process;
    __u32 exit_code;  // as wait(2) gives it
};

// Keys of the sockets that belong to the service: bound to one of its endpoints, or to its port on any address.
struct guard_endpoint {
    __u8 octets[16];  // IPv4 mapped into IPv6
    __u16 port;
};

enum { guard_max_members = 16384, guard_max_addresses = 64, guard_max_endpoints = 3 * guard_max_addresses };
