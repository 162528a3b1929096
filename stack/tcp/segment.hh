// A received TCP segment: validated, its payload trimmed to the IP length.
#pragma once

#include "stack/address.hh"
#include "stack/interfaces.hh"
#include "stack/wire/tcp.hh"

namespace understudy::stack::tcp {

struct Segment {
    Source source = Source::service;
    LinkAddress link_source;
    LinkAddress link_destination;
    Endpoint remote;  // the client
    Endpoint local;   // the service
    std::uint8_t ttl = 64;
    std::uint8_t traffic_class = 0;
    wire::TcpHeader header;
    wire::Bytes payload;

    bool has(std::uint8_t flags) const { return header.flags.has(flags); }
    Seq seq() const { return header.seq; }
    Seq ack() const { return header.ack; }
    // SEG.LEN: payload, SYN and FIN.
    std::uint32_t length() const {
        return static_cast<std::uint32_t>(payload.size()) + (has(wire::TcpFlags::syn) ? 1 : 0) +
               (has(wire::TcpFlags::fin) ? 1 : 0);
    }
    Seq end() const { return seq() + length(); }
};

}  // namespace understudy::stack::tcp
