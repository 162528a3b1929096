// The guard in the kernel (rules.md 28): when a guarded service ends, nothing of it leaves the host any more, not even
// the FIN or RST of its own kernel.
//
// sched_process_exit runs before a process' files are closed. The service ends with its main process and with its last
// one. Any other process counts by what its end would close: a socket of the service that nobody else holds, when a
// signal killed the process that no orderly program dies of; one that listens, when it ended with an error. An orderly
// end of a child that served a connection is how some programs close it.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "tools/agent/guard.bpf.h"

// Of the kernel's own, as much as is looked at; where it stands is found when the program is loaded.
struct counter {
    int counter;
} __attribute__((preserve_access_index));
struct signal_struct {
    struct counter live;
    int nr_threads;
    int group_exit_code;
} __attribute__((preserve_access_index));
struct inode {
    unsigned short i_mode;
} __attribute__((preserve_access_index));
struct long_counter {
    long counter;
};
struct file_ref {
    struct long_counter refcnt;
};
struct file {
    struct long_counter f_count;  // until Linux 6.12
    struct inode *f_inode;
    void *private_data;
} __attribute__((preserve_access_index));
struct file___since_6_13 {
    struct file_ref f_ref;  // 0: one holder
} __attribute__((preserve_access_index));
struct fdtable {
    unsigned int max_fds;
    struct file **fd;
} __attribute__((preserve_access_index));
struct files_struct {
    struct counter count;
    struct fdtable *fdt;
} __attribute__((preserve_access_index));
struct in6_addr_octets {
    __u8 octets[16];
};
struct sock_common {
    unsigned short skc_family;
    unsigned char skc_state;
    __u32 skc_rcv_saddr;
    __u16 skc_num;
    struct in6_addr_octets skc_v6_rcv_saddr;
} __attribute__((preserve_access_index));
struct sock {
    struct sock_common __sk_common;
} __attribute__((preserve_access_index));
struct socket {
    struct sock *sk;
} __attribute__((preserve_access_index));
struct task_struct {
    int tgid;
    int exit_code;
    struct signal_struct *signal;
    struct files_struct *files;
} __attribute__((preserve_access_index));

struct address {
    __u8 octets[16];  // IPv4 mapped into IPv6
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct guard_state);
} state SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, guard_max_members);
    __type(key, __u32);
    __type(value, __u32);
} members SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, guard_max_addresses);
    __type(key, struct address);
    __type(value, __u32);
} addresses SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, guard_max_endpoints);
    __type(key, struct guard_endpoint);
    __type(value, __u32);
} endpoints SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 65536);
} deaths SEC(".maps");

// Signals that end a program which did not mean to end: QUIT, ILL, TRAP, ABRT, BUS, FPE, KILL, SEGV, SYS.
static const __u64 violent_signals = 1ull << 3 | 1ull << 4 | 1ull << 5 | 1ull << 6 | 1ull << 7 | 1ull << 8 |
                                     1ull << 9 | 1ull << 11 | 1ull << 31;

enum { family_v4 = 2, family_v6 = 10, state_listen = 10, mode_type = 0170000, mode_socket = 0140000 };

static int is_held_once(const struct file *file) {
    const struct file___since_6_13 *counted = (const void *)file;
    if (bpf_core_field_exists(counted->f_ref)) return BPF_CORE_READ(counted, f_ref.refcnt.counter) == 0;
    return BPF_CORE_READ(file, f_count.counter) == 1;
}

static int is_of_service(const struct file *file, int must_listen) {
    if ((BPF_CORE_READ(file, f_inode, i_mode) & mode_type) != mode_socket) return 0;
    const struct socket *socket = BPF_CORE_READ(file, private_data);
    const struct sock *sock = BPF_CORE_READ(socket, sk);
    if (!sock || (must_listen && BPF_CORE_READ(sock, __sk_common.skc_state) != state_listen)) return 0;
    struct guard_endpoint bound = {};
    bound.port = BPF_CORE_READ(sock, __sk_common.skc_num);
    const __u16 family = BPF_CORE_READ(sock, __sk_common.skc_family);
    if (family == family_v4) {
        bound.octets[10] = bound.octets[11] = 0xff;
        const __u32 address = BPF_CORE_READ(sock, __sk_common.skc_rcv_saddr);
        __builtin_memcpy(&bound.octets[12], &address, sizeof address);
    } else if (family == family_v6) {
        BPF_CORE_READ_INTO(&bound.octets, sock, __sk_common.skc_v6_rcv_saddr);
    } else {
        return 0;
    }
    return bpf_map_lookup_elem(&endpoints, &bound) != 0;
}

struct search {
    struct file **files;
    int must_listen;
    int found;
};

static long look_at_file(__u32 number, struct search *search) {
    struct file *file = 0;
    bpf_probe_read_kernel(&file, sizeof file, search->files + number);
    search->found = file && is_held_once(file) && is_of_service(file, search->must_listen);
    return search->found;
}

static int would_close_sockets(struct task_struct *task, int must_listen) {
    struct files_struct *files = BPF_CORE_READ(task, files);
    // A table that another process shares is not closed.
    if (!files || BPF_CORE_READ(files, count.counter) > BPF_CORE_READ(task, signal, nr_threads)) return 0;
    struct search search = {BPF_CORE_READ(files, fdt, fd), must_listen, 0};
    bpf_loop(BPF_CORE_READ(files, fdt, max_fds), look_at_file, &search, 0);
    return search.found;
}

SEC("raw_tp/sched_process_exit")
int on_exit(struct bpf_raw_tracepoint_args *context) {
    struct task_struct *task = (struct task_struct *)context->args[0];
    const __u32 key = 0;
    __u32 process = BPF_CORE_READ(task, tgid);
    const __u32 *member = bpf_map_lookup_elem(&members, &process);
    struct guard_state *guarded = bpf_map_lookup_elem(&state, &key);
    // A thread's end is not its process'.
    if (!member || !guarded || BPF_CORE_READ(task, signal, live.counter) != 0) return 0;
    const int is_main = *member == guard_main;
    const int of_group = BPF_CORE_READ(task, signal, group_exit_code);
    const __u32 code = of_group ? of_group : BPF_CORE_READ(task, exit_code);
    if (bpf_map_delete_elem(&members, &process) != 0) return 0;
    const int was_last = __sync_fetch_and_add(&guarded->members, -1) == 1;
    const int violent = (violent_signals >> (code & 0x7f & 63)) & 1;
    const int failed = (code & 0x7f) == 0 && code != 0;
    if (!is_main && !was_last && !((violent || failed) && would_close_sockets(task, !violent))) return 0;
    const struct guard_death death = {__sync_fetch_and_add(&guarded->deaths, 1) + 1, process, code};
    bpf_ringbuf_output(&deaths, (void *)&death, sizeof death, 0);
    return 0;
}

SEC("raw_tp/sched_process_fork")
int on_fork(struct bpf_raw_tracepoint_args *context) {
    struct task_struct *parent = (struct task_struct *)context->args[0];
    struct task_struct *child = (struct task_struct *)context->args[1];
    const __u32 key = 0, value = guard_member;
    __u32 of = BPF_CORE_READ(parent, tgid), process = BPF_CORE_READ(child, tgid);
    if (of == process || !bpf_map_lookup_elem(&members, &of)) return 0;
    struct guard_state *guarded = bpf_map_lookup_elem(&state, &key);
    if (guarded && bpf_map_update_elem(&members, &process, &value, BPF_NOEXIST) == 0)
        __sync_fetch_and_add(&guarded->members, 1);
    return 0;
}

SEC("tc")
int on_egress(struct __sk_buff *frame) {
    const __u32 key = 0;
    const struct guard_state *guarded = bpf_map_lookup_elem(&state, &key);
    if (!guarded || guarded->deaths == guarded->opened) return TC_ACT_UNSPEC;
    struct address source = {};
    if (frame->protocol == bpf_htons(ETH_P_IP)) {
        source.octets[10] = source.octets[11] = 0xff;
        if (bpf_skb_load_bytes_relative(frame, 12, &source.octets[12], 4, BPF_HDR_START_NET) != 0)
            return TC_ACT_UNSPEC;
    } else if (frame->protocol == bpf_htons(ETH_P_IPV6)) {
        if (bpf_skb_load_bytes_relative(frame, 8, &source.octets, 16, BPF_HDR_START_NET) != 0) return TC_ACT_UNSPEC;
    } else {
        return TC_ACT_UNSPEC;
    }
    return bpf_map_lookup_elem(&addresses, &source) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

// Helpers that read the kernel's memory are for such programs alone.
char guard_license[] SEC("license") = "Dual BSD/GPL";
