// Asks the primary's kernel on the service LAN whether it lives (rules.md 15): the egress gate's one exception
// while silent.
#pragma once

#include "stack/ingress.hh"
#include "stack/tcp/core.hh"
#include "stack/wire/bytes.hh"

namespace understudy::stack {

class PrimaryProbe {
  public:
    explicit PrimaryProbe(tcp::Core& core) : core_(core) {}

    // One probe for `address`, to `primary` alone: an ARP request without a sender address (RFC 5227 2.1.1: it
    // teaches nobody anything), or a neighbour solicitation from our link-local address, for one from `::`
    // would make a booting primary give its address up (RFC 4862 5.4.3).
    void send(const IpAddress& address, const LinkAddress& primary);
    // Whether a frame that reached the service port while silent is the primary's answer. Only one from the
    // link-level address that was asked counts.
    bool is_answer(const LinkFrame& frame) const;

  private:
    // Room behind a link-level header to the primary, which is written.
    wire::MutableBytes begin(wire::EtherType type, std::size_t length);
    void send_arp(const IpAddress& address);
    void send_solicitation(const IpAddress& address);

    tcp::Core& core_;
    LinkAddress primary_;
    IpAddress asked_;
    bool sent_ = false;
};

}  // namespace understudy::stack
