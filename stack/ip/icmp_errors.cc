#include "stack/ip/icmp_errors.hh"

#include <algorithm>

#include "stack/wire/icmp.hh"
#include "stack/wire/icmp6.hh"
#include "stack/wire/ipv4.hh"
#include "stack/wire/ipv6.hh"

namespace understudy::stack::ip {
namespace {

constexpr std::size_t least_after_ip = 8;        // RFC 792: ports and sequence number
constexpr std::size_t largest_error4 = 576;      // RFC 1812 4.3.2.3
constexpr std::size_t largest_error6 = 1280;     // RFC 4443 2.4 (c)
constexpr std::uint8_t first_information = 128;  // RFC 4443 2.1
constexpr std::uint32_t next_header_offset6 =
    6;  // what an unrecognised next header points at, without others

bool is_path_mtu(bool v6, std::uint8_t type, std::uint8_t code) {
    return v6 ? type == wire::icmp6_packet_too_big
              : type == wire::icmp_unreachable && code == wire::icmp_fragmentation_needed;
}

// RFC 1122 4.2.3.9, RFC 5461 2.
bool is_hard(bool v6, std::uint8_t type, std::uint8_t code) {
    if (v6)
        return (type == wire::icmp6_unreachable && code == wire::icmp6_port_unreachable) ||
               (type == wire::icmp6_parameter_problem && code == wire::icmp6_unrecognised_header);
    return type == wire::icmp_unreachable &&
           (code == wire::icmp_protocol_unreachable || code == wire::icmp_port_unreachable);
}

// The header of a packet of which only the beginning is there.
std::optional<wire::IpHeader> read_quoted(wire::Bytes packet, bool v6) {
    wire::IpHeader header;
    if (v6) {
        if (wire::parse_ipv6(packet, header) != wire::IpError::none) return std::nullopt;
    } else {
        // Its checksum may have been left as routers found it.
        if (packet.size() < wire::ipv4_header_length || wire::load8(packet.data()) >> 4 != 4)
            return std::nullopt;
        header.header_length = static_cast<std::uint16_t>((wire::load8(packet.data()) & 0x0f) * 4);
        if (header.header_length < wire::ipv4_header_length) return std::nullopt;
        wire::load_ipv4_fields(packet.data(), header);
    }
    if (packet.size() < header.header_length + least_after_ip || header.fragment_offset != 0)
        return std::nullopt;
    return header;
}

}  // namespace

bool IcmpErrors::is_error(const IpPacket& message) {
    const std::uint8_t type = wire::load8(message.payload.data());
    if (!message.header.source.is_v4()) return type < first_information;
    return type == wire::icmp_unreachable || type == wire::icmp_time_exceeded ||
           type == wire::icmp_parameter_problem;
}

IcmpErrors::Quoted IcmpErrors::find_quoted(wire::Bytes packet, bool v6) {
    const auto header = read_quoted(packet, v6);
    if (!header) {
        ++core_.counters.drop_malformed_icmp;
        return {};
    }
    const std::byte* const tcp = packet.data() + header->header_length;
    const Endpoint local{header->source, wire::load16(tcp)};
    const Endpoint remote{header->destination, wire::load16(tcp + 2)};
    Quoted quoted{nullptr, Seq(wire::load32(tcp + 4))};
    if (header->protocol == wire::IpProtocol::tcp && core_.local_address_index(local.address))
        quoted.connection = core_.table.find(core_.key_of(remote, local));
    if (quoted.connection == nullptr) ++core_.counters.drop_icmp_unproven;
    return quoted;
}

void IcmpErrors::receive(const IpPacket& message, Source source) {
    ++core_.counters.icmp_errors_received;
    const bool v6 = !message.header.source.is_v4();
    const std::byte* const icmp = message.payload.data();
    const std::uint8_t type = wire::load8(icmp), code = wire::load8(icmp + 1);
    const bool path_mtu = is_path_mtu(v6, type, code);
    if (source != Source::service && !path_mtu) {
        ++core_.counters.drop_icmp_type;
        return;
    }
    const Quoted quoted = find_quoted(message.payload.subspan(wire::icmp_echo_header_length), v6);
    if (quoted.connection == nullptr) return;
    tcp::Core::Batch batch(core_);
    if (path_mtu) {
        const std::uint32_t mtu = v6 ? wire::load32(icmp + 4) : wire::load16(icmp + 6);
        return tcp::on_path_mtu(core_, *quoted.connection, mtu, quoted.seq);
    }
    tcp::on_unreachable(core_, *quoted.connection, is_hard(v6, type, code), quoted.seq);
}

void IcmpErrors::no_route(wire::Bytes packet) {
    if (packet.empty()) return;
    const Quoted quoted = find_quoted(packet, wire::load8(packet.data()) >> 4 == 6);
    if (quoted.connection == nullptr) return;
    tcp::Core::Batch batch(core_);
    tcp::on_unreachable(core_, *quoted.connection, false, quoted.seq);
}

void IcmpErrors::answer(const IpPacket& about, const IcmpError& error) {
    const Settings& settings = core_.settings;
    if (core_.mode != Mode::master || settings.icmp_errors_per_second == 0 || about.whole.empty()) return;
    // While connections move, what we do not know may be known in a moment.
    if (core_.promoted_at && core_.now < *core_.promoted_at + settings.unknown_grace) return;
    if (about.link.destination.is_group() || !tcp::is_possible_peer(about.header.source)) return;
    if (!budget_.take(tcp::seconds(core_.now), settings.icmp_errors_per_second, core_.noise)) {
        ++core_.counters.icmp_errors_withheld;
        return;
    }
    wire::IpHeader ip;
    ip.source = about.header.destination;
    ip.destination = about.header.source;
    const bool v4 = ip.source.is_v4();
    ip.protocol = v4 ? wire::IpProtocol::icmp : wire::IpProtocol::icmp6;
    const std::size_t most = std::min(v4 ? largest_error4 : largest_error6, settings.mtu);
    const std::size_t length = std::min(
        about.whole.size(), most - wire::ip_header_length(ip.source) - wire::icmp_echo_header_length);
    const auto message = core_.begin_packet(about.link.source, ip, wire::icmp_echo_header_length + length);
    if (message.empty()) return;
    std::fill_n(message.begin(), wire::icmp_echo_header_length, std::byte{});
    wire::store8(message.data(), v4 ? error.type4 : error.type6);
    wire::store8(message.data() + 1, v4 ? error.code4 : error.code6);
    if (!v4 && error.type6 == wire::icmp6_parameter_problem)
        wire::store32(message.data() + 4, next_header_offset6);
    std::copy_n(about.whole.begin(), length, message.begin() + wire::icmp_echo_header_length);
    if (v4)
        wire::store16(message.data() + 2, wire::checksum_finish(wire::checksum_add(message)));
    else
        wire::finish_icmp6(message, ip.source, ip.destination);
    core_.gate.commit();
    ++core_.counters.icmp_errors_sent;
}

}  // namespace understudy::stack::ip
