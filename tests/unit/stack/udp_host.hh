// A stack with a UDP service; client and primary are played by the test.
#pragma once

#include <gtest/gtest.h>

#include "stack/wire/checksum.hh"
#include "stack/wire/udp.hh"
#include "tests/unit/stack/harness.hh"

namespace understudy::stack::test {

inline Settings udp_settings(Mode mode) {
    Settings settings = settings_for(mode);
    settings.udp_services = {service_endpoint};
    return settings;
}

class UdpHost : public ::testing::Test {
  protected:
    struct Datagram {
        LinkAddress link_source = client_link;
        LinkAddress link_destination = primary_link;
        Endpoint source = client_endpoint;
        Endpoint destination = service_endpoint;
        std::string payload;
        std::optional<std::uint16_t> checksum = {};  // instead of the right one
        int length_error = 0;                        // added to the length field
        std::string trailer = {};                    // behind the datagram, within the IP packet
    };

    explicit UdpHost(const Settings& settings) : host(settings) {}

    static std::vector<std::byte> encode(const Datagram& d) {
        const std::size_t offset = wire::ethernet_header_length + wire::ipv4_header_length;
        const std::size_t length = wire::udp_header_length + d.payload.size();
        std::vector<std::byte> frame(offset + length + d.trailer.size());
        wire::write_ethernet(frame, {d.link_destination, d.link_source, wire::EtherType::ipv4});
        wire::Ipv4Header ip;
        ip.source = d.source.address;
        ip.destination = d.destination.address;
        ip.protocol = wire::IpProtocol::udp;
        ip.total_length = static_cast<std::uint16_t>(frame.size() - wire::ethernet_header_length);
        wire::write_ipv4(std::span(frame).subspan(wire::ethernet_header_length), ip);
        const auto datagram = std::span(frame).subspan(offset, length);
        wire::write_udp(datagram, {d.source.port, d.destination.port,
                                   static_cast<std::uint16_t>(static_cast<int>(length) + d.length_error), 0});
        std::ranges::copy(as_bytes(d.payload), datagram.subspan(wire::udp_header_length).begin());
        std::ranges::copy(as_bytes(d.trailer), frame.end() - static_cast<std::ptrdiff_t>(d.trailer.size()));
        const auto pseudo = wire::pseudo_header_sum(ip.source, ip.destination, 17,
                                                    static_cast<std::uint32_t>(datagram.size()));
        const std::uint16_t sum = wire::checksum_finish(wire::checksum_add(datagram, pseudo));
        wire::store16(datagram.data() + wire::udp_checksum_offset, d.checksum.value_or(sum));
        return frame;
    }

    void inject(const Datagram& datagram, Source source) {
        const auto frame = encode(datagram);
        const ReceivedFrame received{source, frame, static_cast<std::uint32_t>(frame.size())};
        host.stack.receive(std::span(&received, 1), host.now);
    }
    static Datagram of_client(std::string payload) { return {.payload = std::move(payload)}; }
    static Datagram of_primary(std::string payload) {
        return {.link_source = primary_link,
                .link_destination = client_link,
                .source = service_endpoint,
                .destination = client_endpoint,
                .payload = std::move(payload)};
    }
    void client_on_tap(std::string payload) {
        inject(of_client(std::move(payload)), Source::tap_from_client);
    }
    void primary_on_tap(std::string payload) {
        inject(of_primary(std::move(payload)), Source::tap_from_primary);
    }
    void client(std::string payload) {
        Datagram datagram = of_client(std::move(payload));
        datagram.link_destination = replica_link;
        inject(datagram, Source::service);
    }
    bool answer(std::string_view text, const Endpoint& to = client_endpoint) {
        return host.stack.send_datagram(service_endpoint, to, as_bytes(text), host.now);
    }

    // The next frame that was sent, as a datagram whose checksums are right; other kinds are passed over.
    std::optional<Datagram> sent() {
        while (!host.wire.frames.empty()) {
            const auto frame = std::move(host.wire.frames.front());
            host.wire.frames.pop_front();
            const auto link = wire::parse_ethernet(frame);
            wire::Ipv4Header ip;
            const auto packet = std::span<const std::byte>(frame).subspan(wire::ethernet_header_length);
            if (!link || wire::parse_ipv4(packet, ip) != wire::Ipv4Error::none ||
                ip.protocol != wire::IpProtocol::udp)
                continue;
            const auto bytes = packet.first(ip.total_length).subspan(ip.header_length);
            const auto header = wire::parse_udp(bytes);
            const auto pseudo = wire::pseudo_header_sum(ip.source, ip.destination, 17,
                                                        static_cast<std::uint32_t>(bytes.size()));
            if (!header || header->length != bytes.size() || header->checksum == 0 ||
                wire::checksum_finish(wire::checksum_add(bytes, pseudo)) != 0) {
                ADD_FAILURE() << "a malformed datagram was sent";
                return std::nullopt;
            }
            const auto payload = bytes.subspan(wire::udp_header_length);
            return Datagram{
                .link_source = link->source,
                .link_destination = link->destination,
                .source = {ip.source, header->source_port},
                .destination = {ip.destination, header->destination_port},
                .payload = std::string(reinterpret_cast<const char*>(payload.data()), payload.size())};
        }
        return std::nullopt;
    }
    std::string sent_text() {
        const auto datagram = sent();
        return datagram ? datagram->payload : "nothing";
    }
    const Counters& counters() const { return host.stack.counters(); }

    Host host;
};

}  // namespace understudy::stack::test
