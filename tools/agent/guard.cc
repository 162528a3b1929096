#include "tools/agent/guard.hh"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "tools/agent/guard.bpf.h"
// The programs as they were compiled: guard_object.
#include "guard_object.inc"

namespace understudy::tools {
namespace {

constexpr __u32 tc_handle = 0x7573;
constexpr __u32 tc_priority = 1;

[[noreturn]] void fail(const std::string& what, int error) {
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

bpf_program* program(bpf_object* object, const char* name) {
    return bpf_object__find_program_by_name(object, name);
}

int map(bpf_object* object, const char* name) {
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
    OnDeath on_death;

    Impl(boost::asio::io_context& io, OnDeath callback) : readable(io), on_death(std::move(callback)) {}

    ~Impl() {
        // The descriptor is the ring's.
        readable.release();
        const bool shut = state != nullptr && std::atomic_ref(state->dead).load() != 0;
        for (const int interface : interfaces) {
            LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = interface, .attach_point = BPF_TC_EGRESS);
            LIBBPF_OPTS(bpf_tc_opts, filter, .handle = tc_handle, .priority = tc_priority);
            if (!shut) bpf_tc_detach(&hook, &filter);
        }
        if (state != nullptr) munmap(state, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)));
    }

    void load() {
        object.reset(bpf_object__open_mem(guard_object, sizeof guard_object, nullptr));
        if (!object) fail("the BPF programs cannot be read", errno);
        if (bpf_object__load(object.get()) != 0) fail("the kernel does not take the BPF programs", errno);
        void* const mapped = mmap(nullptr, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), PROT_READ | PROT_WRITE,
                                  MAP_SHARED, map(object.get(), "state"), 0);
        if (mapped == MAP_FAILED) fail("the guard's state cannot be mapped", errno);
        state = static_cast<guard_state*>(mapped);
    }

    void attach(const std::vector<ServiceOnPort>& services) {
        for (const ServiceOnPort& service : services) {
            const __u32 one = 1;
            bpf_map_update_elem(map(object.get(), "addresses"), service.endpoint.address.octets.data(), &one, BPF_ANY);
            attach_to(service.interface);
        }
        for (const char* name : {"on_fork", "on_exit"}) {
            bpf_link* const link = bpf_program__attach(program(object.get(), name));
            if (link == nullptr) fail(std::string(name) + " cannot be attached", errno);
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
        if (created != 0 && created != -EEXIST) fail("clsact on " + interface, -created);
        LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = bpf_program__fd(program(object.get(), "on_egress")),
                    .flags = BPF_TC_F_REPLACE, .handle = tc_handle, .priority = tc_priority);
        const int attached = bpf_tc_attach(&hook, &filter);
        if (attached != 0) fail("the egress filter on " + interface, -attached);
        interfaces.push_back(index);
    }

    void listen() {
        ring.reset(ring_buffer__new(
            map(object.get(), "deaths"),
            [](void* self, void* data, std::size_t) {
                const auto& death = *static_cast<const guard_death*>(data);
                static_cast<Impl*>(self)->on_death(static_cast<pid_t>(death.process),
                                                   static_cast<int>(death.exit_code));
                return 0;
            },
            this, nullptr));
        if (!ring) fail("the guard's reports cannot be read", errno);
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
    impl_->load();
    impl_->attach(services);
    impl_->listen();
}

Guard::~Guard() = default;

void Guard::watch(const std::set<pid_t>& processes, pid_t main) {
    const int members = map(impl_->object.get(), "members");
    for (const pid_t process : processes) {
        const auto key = static_cast<__u32>(process);
        const __u32 value = process == main ? guard_main : guard_member;
        if (bpf_map_update_elem(members, &key, &value, BPF_NOEXIST) == 0)
            std::atomic_ref(impl_->state->members).fetch_add(1);
        else
            bpf_map_update_elem(members, &key, &value, BPF_EXIST);
    }
}

std::size_t Guard::watched() const {
    return std::atomic_ref(impl_->state->members).load();
}

void Guard::open() {
    std::atomic_ref(impl_->state->dead).store(0);
}

}  // namespace understudy::tools
