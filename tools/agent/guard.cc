#include "tools/agent/guard.hh"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "tools/agent/guard.bpf.h"
#include "tools/agent/guard_target.hh"
// The programs as they were compiled: guard_object.
#include "guard_object.inc"

namespace understudy::tools {
namespace {

constexpr __u32 tc_handle = 0x7573;
constexpr __u32 tc_priority = 1;

const stack::IpAddress any_v4 = *stack::parse_ip_address("0.0.0.0");
const stack::IpAddress any_v6 = *stack::parse_ip_address("::");

// The kernel's number of the first process namespace, whose process ids the BPF programs see.
constexpr ino_t initial_process_namespace = 0xEFFFFFFC;

[[noreturn]] void fail_to_guard(const std::string& what, int error) {
    const std::string why = error == EPERM ? "needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
                                           : std::string(std::strerror(error));
    throw std::runtime_error("--guard: " + what + ": " + why);
}

struct ObjectCloser {
    void operator()(bpf_object* object) const { bpf_object__close(object); }
};
struct LinkDestroyer {
    void operator()(bpf_link* link) const { bpf_link__destroy(link); }
};
struct RingFree {
    void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};

bpf_program* find_program(bpf_object* object, const char* name) {
    return bpf_object__find_program_by_name(object, name);
}

int find_map(bpf_object* object, const char* name) {
    return bpf_object__find_map_fd_by_name(object, name);
}

}  // namespace

struct Guard::Impl : std::enable_shared_from_this<Impl> {
    std::unique_ptr<bpf_object, ObjectCloser> object;
    std::vector<std::unique_ptr<bpf_link, LinkDestroyer>> links;
    std::unique_ptr<ring_buffer, RingFree> ring;
    boost::asio::posix::stream_descriptor readable;
    std::vector<int> interfaces;
    guard_state* state = nullptr;
    __u32 heard = 0;  // the number of the latest death
    OnDeath on_death;

    Impl(boost::asio::io_context& io, OnDeath callback) : readable(io), on_death(std::move(callback)) {}

    ~Impl() {
        // The descriptor is the ring's.
        readable.release();
        const bool shut = state != nullptr && std::atomic_ref(state->deaths).load() != state->opened;
        for (const int interface : interfaces) {
            LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = interface, .attach_point = BPF_TC_EGRESS);
            LIBBPF_OPTS(bpf_tc_opts, filter, .handle = tc_handle, .priority = tc_priority);
            if (!shut) bpf_tc_detach(&hook, &filter);
        }
        if (state != nullptr) munmap(state, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)));
    }

    void load() {
        object.reset(bpf_object__open_mem(guard_object, sizeof guard_object, nullptr));
        if (!object) fail_to_guard("the BPF programs cannot be read", errno);
        if (bpf_object__load(object.get()) != 0) fail_to_guard("the kernel does not take the BPF programs", errno);
        void* const mapped = mmap(nullptr, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), PROT_READ | PROT_WRITE,
                                  MAP_SHARED, find_map(object.get(), "state"), 0);
        if (mapped == MAP_FAILED) fail_to_guard("the guard's state cannot be mapped", errno);
        state = static_cast<guard_state*>(mapped);
    }

    void attach(const std::vector<ServiceOnPort>& services) {
        for (const ServiceOnPort& service : services) {
            const __u32 one = 1;
            bpf_map_update_elem(find_map(object.get(), "addresses"), service.endpoint.address.octets.data(), &one,
                                BPF_ANY);
            for (const auto& octets : {service.endpoint.address.octets, any_v4.octets, any_v6.octets}) {
                guard_endpoint endpoint{};
                std::ranges::copy(octets, endpoint.octets);
                endpoint.port = service.endpoint.port;
                bpf_map_update_elem(find_map(object.get(), "endpoints"), &endpoint, &one, BPF_ANY);
            }
            attach_to(service.interface);
        }
        for (const char* name : {"on_fork", "on_exit"}) {
            bpf_link* const link = bpf_program__attach(find_program(object.get(), name));
            if (link == nullptr) fail_to_guard(std::string(name) + " cannot be attached", errno);
            links.emplace_back(link);
        }
    }

    void attach_to(const std::string& interface) {
        const auto index = static_cast<int>(if_nametoindex(interface.c_str()));
        if (index == 0) throw std::runtime_error("--service: there is no interface " + interface);
        if (std::ranges::find(interfaces, index) != interfaces.end()) return;
        LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = BPF_TC_EGRESS);
        // It may be there already.
        const int created = bpf_tc_hook_create(&hook);
        if (created != 0 && created != -EEXIST) fail_to_guard("clsact on " + interface, -created);
        LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = bpf_program__fd(find_program(object.get(), "on_egress")),
                    .flags = BPF_TC_F_REPLACE, .handle = tc_handle, .priority = tc_priority);
        const int attached = bpf_tc_attach(&hook, &filter);
        if (attached != 0) fail_to_guard("the egress filter on " + interface, -attached);
        interfaces.push_back(index);
    }

    void listen() {
        ring.reset(ring_buffer__new(
            find_map(object.get(), "deaths"),
            [](void* self, void* data, std::size_t) {
                const auto& death = *static_cast<const guard_death*>(data);
                auto& guard = *static_cast<Impl*>(self);
                guard.heard = std::max(guard.heard, death.number);
                guard.on_death(static_cast<pid_t>(death.process), static_cast<int>(death.exit_code));
                return 0;
            },
            this, nullptr));
        if (!ring) fail_to_guard("the guard's reports cannot be read", errno);
        readable.assign(ring_buffer__epoll_fd(ring.get()));
        wait();
    }

    void wait() {
        readable.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                            [self = weak_from_this()](const boost::system::error_code& error) {
                                const auto guard = self.lock();
                                if (error || !guard) return;
                                ring_buffer__consume(guard->ring.get());
                                guard->wait();
                            });
    }
};

Guard::Guard(boost::asio::io_context& io, const std::vector<ServiceOnPort>& services, OnDeath on_death)
    : impl_(std::make_shared<Impl>(io, std::move(on_death))) {
    // Its own words are many, and no operator's.
    libbpf_set_print([](libbpf_print_level, const char*, va_list) { return 0; });
    struct stat space{};
    if (stat("/proc/self/ns/pid", &space) == 0 && space.st_ino != initial_process_namespace)
        throw std::runtime_error("--guard: process ids mean something else here: run the agent outside of containers");
    impl_->load();
    impl_->attach(services);
    impl_->listen();
}

Guard::~Guard() = default;

void Guard::watch(const std::set<pid_t>& processes, pid_t main) {
    const int members = find_map(impl_->object.get(), "members");
    for (const pid_t process : processes) {
        const auto key = static_cast<__u32>(process);
        const __u32 value = process == main ? guard_main : guard_member;
        if (bpf_map_update_elem(members, &key, &value, BPF_EXIST) != 0) {
            // Before it can end as a member.
            std::atomic_ref(impl_->state->members).fetch_add(1);
            if (bpf_map_update_elem(members, &key, &value, BPF_NOEXIST) != 0)
                std::atomic_ref(impl_->state->members).fetch_sub(1);
        }
        // One that had passed its end before is not reported any more.
        if (!still_runs(process) && bpf_map_delete_elem(members, &key) == 0)
            std::atomic_ref(impl_->state->members).fetch_sub(1);
    }
}

std::size_t Guard::watched() const {
    return std::atomic_ref(impl_->state->members).load();
}

void Guard::open() {
    std::atomic_ref(impl_->state->opened).store(impl_->heard);
}

}  // namespace understudy::tools
