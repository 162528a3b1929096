// The guard in the kernel (rules.md 28): when a guarded service ends, nothing of it leaves the host any more, not even
// the FIN or RST of its own kernel.
//
// sched_process_exit runs before a process' files are closed. The service ends with its main process, with its last
// process, or with one that a signal killed which no orderly program dies of.
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
    int group_exit_code;
} __attribute__((preserve_access_index));
struct task_struct {
    int tgid;
    int exit_code;
    struct signal_struct *signal;
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
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} deaths SEC(".maps");

// Signals that end a program which did not mean to end: QUIT, ILL, TRAP, ABRT, BUS, FPE, KILL, SEGV, SYS.
static const __u64 violent_signals = 1ull << 3 | 1ull << 4 | 1ull << 5 | 1ull << 6 | 1ull << 7 | 1ull << 8 |
                                     1ull << 9 | 1ull << 11 | 1ull << 31;

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
    if (!is_main && !was_last && !violent) return 0;
    guarded->dead = 1;
    const struct guard_death death = {process, code};
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
    if (!guarded || !guarded->dead) return TC_ACT_UNSPEC;
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
