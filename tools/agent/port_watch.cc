#include "tools/agent/port_watch.hh"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "tools/common/carrier.hh"

namespace understudy::tools {

struct PortWatch::Impl : std::enable_shared_from_this<Impl> {
    Impl(boost::asio::io_context& io, std::vector<std::string> names, OnCarrier callback)
        : interfaces(std::move(names)), on_carrier(std::move(callback)), socket(io) {
        const int descriptor =
            ::socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
        if (descriptor < 0) fail();
        socket.assign(descriptor);
        sockaddr_nl address{};
        address.nl_family = AF_NETLINK;
        address.nl_groups = RTMGRP_LINK;
        if (::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail();
        // After the subscription: no change is missed in between.
        present = look();
    }

    [[noreturn]] static void fail() {
        throw std::runtime_error(std::string("cannot watch the service port's carrier: ") + std::strerror(errno));
    }

    bool look() const { return std::ranges::all_of(interfaces, has_carrier); }

    void wait() {
        socket.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [self = weak_from_this()](const boost::system::error_code& error) {
                              const auto watch = self.lock();
                              if (error || !watch) return;
                              watch->read();
                              watch->wait();
                          });
    }

    // What a message says is older than what the interface itself says.
    void read() {
        std::array<char, 16384> ignored{};
        while (::recv(socket.native_handle(), ignored.data(), ignored.size(), 0) > 0) {
        }
        const bool is = look();
        if (std::exchange(present, is) != is) on_carrier(is);
    }

    std::vector<std::string> interfaces;
    OnCarrier on_carrier;
    boost::asio::posix::stream_descriptor socket;
    bool present = true;
};

PortWatch::PortWatch(boost::asio::io_context& io, std::vector<std::string> interfaces, OnCarrier on_carrier)
    : impl_(std::make_shared<Impl>(io, std::move(interfaces), std::move(on_carrier))) {
    impl_->wait();
}

PortWatch::~PortWatch() = default;

bool PortWatch::carrier() const {
    return impl_->present;
}

}  // namespace understudy::tools
