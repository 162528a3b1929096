// A received UDP datagram: validated, its payload trimmed to the UDP length.
#pragma once

#include <optional>

#include "stack/address.hh"
#include "stack/counters.hh"
#include "stack/ingress.hh"
#include "stack/interfaces.hh"
#include "stack/settings.hh"
#include "stack/wire/bytes.hh"

namespace understudy::stack::udp {

struct Datagram {
    Source source = Source::service;
    LinkAddress link_source;
    LinkAddress link_destination;
    Endpoint remote;  // the client
    Endpoint local;   // the service
    std::uint16_t identification = 0;  // IPv4's; 0 over IPv6
    std::uint8_t tap = 0;              // ReceivedFrame::tap
    wire::Bytes payload;
};

// Reads and checks a datagram; every refusal has its counter. `remote` and `local` are set by who sent it.
// The payload refers to the packet.
std::optional<Datagram> read_datagram(const IpPacket& packet, Source source, const ShadowSettings& settings,
                                      Counters& counters);

}  // namespace understudy::stack::udp
