// Tells the neighbours of an interface where an address lives, by gratuitous ARP, as the paper's primary does
// when it starts.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/io_context.hpp>

#include "stack/address.hh"

namespace understudy::tools {

struct Announcement {
    std::string interface;
    stack::IpAddress address;
};
// "eth0=10.77.0.1". Throws UsageError with one clear line; IPv4 only.
Announcement parse_announcement(std::string_view text);

// Announces when it is started, and a few times more within seconds, for caches that missed it.
class Announcer {
  public:
    // A round was sent; `frames` of its two left.
    using OnSent = std::function<void(const Announcement& announcement, std::size_t frames)>;

    // Opens a packet socket on the interface, whose link-level address it announces. Throws
    // std::runtime_error with one clear line when there is no such interface, when it is no Ethernet, or
    // without privilege.
    Announcer(boost::asio::io_context& io, const Announcement& announcement, OnSent on_sent);
    ~Announcer();
    Announcer(Announcer&&) noexcept;
    Announcer& operator=(Announcer&&) noexcept;

    void start();
    void stop();

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace understudy::tools
