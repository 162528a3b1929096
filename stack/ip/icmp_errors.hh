// ICMP errors, both ways: those about our connections are found by what they quote and believed only if that
// is in flight (RFC 5927); those that we owe others are few (RFC 1122 3.2.2, RFC 4443 2.4).
#pragma once

#include "stack/ingress.hh"
#include "stack/tcp/core.hh"

namespace understudy::stack::ip {

// One error, by its name in both versions of ICMP.
struct IcmpError {
    std::uint8_t type4, code4;
    std::uint8_t type6, code6;
};
inline constexpr IcmpError port_unreachable = {3, 3, 1, 4};
// IPv6: unrecognised next header (RFC 8200 4).
inline constexpr IcmpError protocol_unreachable = {3, 2, 4, 1};

class IcmpErrors {
  public:
    explicit IcmpErrors(tcp::Core& core) : core_(core) {}

    static bool is_error(const IpPacket& message);
    // Reads an error whose checksum is right. From a tap it counts only for what it says of the path's MTU.
    void receive(const IpPacket& message, Source source);
    // What a quoted packet of ours comes to: there is no way to its destination.
    void no_route(wire::Bytes packet);
    // Answers a packet that came by the service port; within Settings::icmp_errors_per_second, as master
    // only, never to a group, and never about what was put together from fragments, whose first is gone.
    void answer(const IpPacket& about, const IcmpError& error);

  private:
    struct Quoted {
        tcp::Connection* connection = nullptr;
        Seq seq;
    };
    Quoted find_quoted(wire::Bytes packet, bool v6);

    tcp::Core& core_;
    tcp::ChallengeBudget budget_;
};

}  // namespace understudy::stack::ip
