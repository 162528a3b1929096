// One stack under test, its peer played by the test: segments are built and read field by field.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "stack/stack.hh"
#include "stack/wire/arp.hh"
#include "stack/wire/ip_packet.hh"
#include "stack/wire/tcp.hh"

namespace understudy::stack::test {

using namespace std::chrono_literals;
using wire::TcpFlags;

inline const LinkAddress client_link = *parse_link_address("02:00:00:00:00:0c");
inline const LinkAddress primary_link = *parse_link_address("02:00:00:00:00:01");
inline const LinkAddress replica_link = *parse_link_address("02:00:00:00:00:02");
inline const Endpoint client_endpoint = *parse_endpoint("10.77.0.100:40000");
inline const Endpoint service_endpoint = *parse_endpoint("10.77.0.1:7000");
inline const Endpoint client6 = *parse_endpoint("[fd00:77::100]:40000");
inline const Endpoint service6 = *parse_endpoint("[fd00:77::1]:7000");

inline std::span<const std::byte> as_bytes(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

// A segment as a test writes it or reads it.
struct Packet {
    LinkAddress link_source = client_link;
    LinkAddress link_destination = replica_link;
    Endpoint source = client_endpoint;
    Endpoint destination = service_endpoint;
    wire::TcpHeader tcp;
    std::string payload;

    bool is(std::uint8_t flags) const { return tcp.flags.bits == flags; }
    bool has(std::uint8_t flags) const { return tcp.flags.has(flags); }
};

inline std::vector<std::byte> encode(const Packet& packet) {
    const std::size_t tcp_length = wire::tcp_header_length + wire::tcp_options_length(packet.tcp.options);
    const std::size_t offset = wire::ethernet_header_length + wire::ip_header_length(packet.source.address);
    std::vector<std::byte> frame(offset + tcp_length + packet.payload.size());
    wire::write_ethernet(
        frame, {packet.link_destination, packet.link_source, wire::ether_type(packet.source.address)});
    wire::IpHeader ip;
    ip.source = packet.source.address;
    ip.destination = packet.destination.address;
    ip.protocol = wire::IpProtocol::tcp;
    ip.total_length = static_cast<std::uint32_t>(frame.size() - wire::ethernet_header_length);
    wire::write_ip(std::span(frame).subspan(wire::ethernet_header_length), ip);
    wire::TcpHeader tcp = packet.tcp;
    tcp.source_port = packet.source.port;
    tcp.destination_port = packet.destination.port;
    const auto segment = std::span(frame).subspan(offset);
    wire::write_tcp(segment, tcp);
    std::copy_n(as_bytes(packet.payload).data(), packet.payload.size(), segment.data() + tcp_length);
    const auto pseudo =
        wire::pseudo_header_sum(ip.source, ip.destination, 6, static_cast<std::uint32_t>(segment.size()));
    wire::store16(segment.data() + wire::tcp_checksum_offset,
                  wire::checksum_finish(wire::checksum_add(segment, pseudo)));
    return frame;
}

inline std::optional<Packet> decode(std::span<const std::byte> frame) {
    const auto link = wire::parse_ethernet(frame);
    if (!link || (link->type != wire::EtherType::ipv4 && link->type != wire::EtherType::ipv6))
        return std::nullopt;
    wire::IpHeader ip;
    const auto rest = frame.subspan(wire::ethernet_header_length);
    const auto error =
        link->type == wire::EtherType::ipv4 ? wire::parse_ipv4(rest, ip) : wire::parse_ipv6(rest, ip);
    if (error != wire::IpError::none || ip.protocol != wire::IpProtocol::tcp) return std::nullopt;
    const auto segment = rest.first(ip.total_length).subspan(ip.header_length);
    const auto pseudo =
        wire::pseudo_header_sum(ip.source, ip.destination, 6, static_cast<std::uint32_t>(segment.size()));
    if (wire::checksum_finish(wire::checksum_add(segment, pseudo)) != 0) return std::nullopt;
    const auto tcp = wire::parse_tcp(segment);
    if (!tcp) return std::nullopt;
    Packet packet;
    packet.link_source = link->source;
    packet.link_destination = link->destination;
    packet.source = {ip.source, tcp->source_port};
    packet.destination = {ip.destination, tcp->destination_port};
    packet.tcp = *tcp;
    const auto payload = segment.subspan(tcp->header_length);
    packet.payload.assign(reinterpret_cast<const char*>(payload.data()), payload.size());
    return packet;
}

class Wire final : public FrameSink {
  public:
    std::span<std::byte> reserve(std::size_t length) override {
        pending_.assign(length, std::byte{});
        return pending_;
    }
    void commit() override { frames.push_back(std::move(pending_)); }

    std::deque<std::vector<std::byte>> frames;

  private:
    std::vector<std::byte> pending_;
};

class CountingRandom final : public RandomSource {
  public:
    std::uint64_t next() override { return state_ += 0x9e3779b97f4a7c15; }

  private:
    std::uint64_t state_ = 1;
};

// Records events; takes at most `appetite` bytes at a time.
class Recorder final : public ConnectionEvents {
  public:
    void accepted(ConnectionId id, const Endpoint&, const Endpoint&) override {
        connection = id;
        log.emplace_back("accepted");
    }
    void connected(ConnectionId id) override {
        connection = id;
        log.emplace_back("connected");
    }
    std::size_t received(ConnectionId, std::span<const std::byte> bytes) override {
        const std::size_t taken = std::min(bytes.size(), appetite);
        input.append(reinterpret_cast<const char*>(bytes.data()), taken);
        return taken;
    }
    void urgent(ConnectionId, std::uint64_t end) override {
        log.push_back("urgent to " + std::to_string(end));
    }
    void peer_closed(ConnectionId) override { log.emplace_back("peer_closed"); }
    void writable(ConnectionId) override { log.emplace_back("writable"); }
    void closed(ConnectionId, CloseReason reason) override { log.emplace_back(to_string(reason)); }
    void datagram(const Endpoint&, const Endpoint& client, std::span<const std::byte> bytes) override {
        input.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        log.push_back("datagram of " + to_string(client));
    }
    void primary_sent(ConnectionId, std::span<const std::byte> bytes) override {
        primary_output.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    void seeded(const SeedRecord& record) override { seeds.push_back(record); }
    void address_conflict(const IpAddress& address, const LinkAddress& link) override {
        log.push_back("conflict over " + to_string(address) + " with " + to_string(link));
    }
    void state_lost(const Endpoint& service) override {
        log.push_back("state lost of " + to_string(service));
    }

    ConnectionId connection;
    std::string input;
    std::string primary_output;
    std::size_t appetite = SIZE_MAX;
    std::vector<std::string> log;
    std::vector<SeedRecord> seeds;
};

inline Settings settings_for(Mode mode) {
    Settings settings;
    settings.services = {service_endpoint};
    settings.link_address = replica_link;
    settings.initial_mode = mode;
    settings.announce_repeats = {};
    settings.unknown_grace = 0s;
    return settings;
}

// The stack with what surrounds it, and shorthand for segments of either side. `client_isn` and `server_isn`
// anchor the two sequence spaces: offsets in the calls below count from the first byte after the SYN.
class Host {
  public:
    explicit Host(const Settings& settings) : stack(settings, wire, events, random_) {}

    static constexpr std::uint32_t client_isn = 1000;
    std::uint32_t server_isn = 5000;

    Seq client_seq(std::uint32_t offset) const { return Seq(client_isn + 1 + offset); }
    Seq server_seq(std::uint32_t offset) const { return Seq(server_isn + 1 + offset); }

    void inject(const Packet& packet, Source source = Source::service) {
        const auto frame = encode(packet);
        const ReceivedFrame received{source, frame, static_cast<std::uint32_t>(frame.size())};
        stack.receive(std::span(&received, 1), now);
    }
    void pass(Duration time) {
        const Instant end = now + time;
        for (auto next = stack.next_deadline(); next && *next <= end; next = stack.next_deadline()) {
            now = std::max(now, *next);
            stack.advance(now);
        }
        now = end;
        stack.advance(now);
    }
    // The next TCP segment that was sent; frames of other kinds are passed over.
    std::optional<Packet> sent() {
        while (!wire.frames.empty()) {
            const auto packet = decode(wire.frames.front());
            wire.frames.pop_front();
            if (packet) return packet;
        }
        return std::nullopt;
    }
    std::size_t send(std::string_view text) { return stack.send(events.connection, as_bytes(text), now); }
    ConnectionSnapshot snapshot() const { return *stack.snapshot(events.connection); }

    Wire wire;
    Recorder events;
    Instant now = Instant(1h);

  private:
    CountingRandom random_;

  public:
    Stack stack;
};

}  // namespace understudy::stack::test
