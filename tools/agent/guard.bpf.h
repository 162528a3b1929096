// What the guard's BPF programs and the agent share. C, for both.
#pragma once

#include <linux/types.h>

// By key 0; the agent maps it.
struct guard_state {
    __u32 dead;     // nothing leaves the service addresses any more
    __u32 members;  // processes that are watched
};

// Values of the members, by process.
enum { guard_member = 1, guard_main = 2 };

// One for each end that was the service's.
struct guard_death {
    __u32 process;
    __u32 exit_code;  // as wait(2) gives it
};

enum { guard_max_members = 16384, guard_max_addresses = 64 };
