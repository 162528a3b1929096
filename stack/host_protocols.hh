// What a host says for itself: ARP (RFC 826), neighbour discovery (RFC 4861), echo (RFC 1122 3.2.2.6, RFC
// 4443 4.2), and the announcement that an address has moved. Master only: while silent the gate is shut.
#pragma once

#include "stack/ingress.hh"
#include "stack/ip/address_guard.hh"
#include "stack/ip/icmp_errors.hh"
#include "stack/tcp/core.hh"
#include "stack/wire/arp.hh"
#include "stack/wire/icmp6.hh"

namespace understudy::stack {

class HostProtocols {
  public:
    explicit HostProtocols(tcp::Core& core)
        : errors(core), core_(core), guard_(core.local_addresses().size(), core.settings.defend_interval) {}

    void on_arp(wire::Bytes packet);
    // ICMP or ICMPv6, for one of our addresses, or by the service port for a group.
    void on_icmp(const IpPacket& packet, Source source);
    // Asks for the next hops that frames wait for or that are to be verified; gives up those that do not
    // answer.
    void resolve_neighbours();
    // Tells the link where our addresses are now (paper section IV.C): gratuitous ARP, and for IPv6 the
    // unsolicited neighbour advertisement (RFC 4861 7.2.6).
    void announce();

    ip::IcmpErrors errors;

  private:
    void on_icmp6(const IpPacket& packet, std::uint8_t type);
    void send_arp(const LinkAddress& destination, const wire::ArpPacket& arp);
    void on_solicitation(const IpPacket& packet);
    void on_advertisement(const IpPacket& packet);
    void on_listener_query(const IpPacket& packet);
    void learn_neighbour(const IpAddress& address, const LinkAddress& link, ip::Neighbours::Word word);
    // `link`: known, and to be verified there alone.
    void send_solicitation(const IpAddress& source, const IpAddress& target,
                           const std::optional<LinkAddress>& link);
    void solicit(const ip::Neighbours::Solicitation& solicitation);
    // `link` says that address `index` is its own.
    void on_claim(std::size_t index, const LinkAddress& link);
    void announce(const IpAddress& address);
    // Asks whether somebody else holds `address`.
    void probe_for_conflict(const IpAddress& address);
    void advertise(const IpAddress& target, const IpAddress& destination, const LinkAddress& link,
                   bool solicited);
    void report_listening(const IpAddress& address, wire::ListenerRecord record);
    // Answers an echo request with its own data.
    void echo(const IpPacket& packet);

    tcp::Core& core_;
    ip::AddressGuard guard_;
};

}  // namespace understudy::stack
