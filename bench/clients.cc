#include "bench/clients.hh"

#include "stack/wire/ethernet.hh"
#include "stack/wire/ipv4.hh"
#include "stack/wire/tcp.hh"

namespace understudy::bench {
namespace {

using stack::wire::TcpFlags;

constexpr std::uint32_t ports_per_address = 1 << 14;
constexpr std::uint32_t first_address = 0x0b000001;
constexpr std::uint16_t first_port = 1024;

stack::Endpoint endpoint_of(std::size_t i) {
    return {stack::IpAddress::from_v4(first_address + static_cast<std::uint32_t>(i / ports_per_address)),
            static_cast<std::uint16_t>(first_port + i % ports_per_address)};
}

// Ports, SYN options and window are filled in here.
std::span<const std::byte> write_segment(std::span<std::byte, max_frame> frame,
                                         const stack::wire::EthernetHeader& link,
                                         const stack::Endpoint& source, const stack::Endpoint& destination,
                                         stack::wire::TcpHeader header, std::uint32_t payload_length) {
    header.source_port = source.port;
    header.destination_port = destination.port;
    header.window = 0xffff;
    header.options.timestamps_present = true;
    if (header.flags.has(TcpFlags::syn)) {
        header.options.mss = 1460;
        header.options.window_scale_present = true;
        header.options.window_scale = 7;
        header.options.sack_permitted = true;
    }
    const std::size_t header_length =
        stack::wire::tcp_header_length + stack::wire::tcp_options_length(header.options);
    const std::size_t offset = stack::wire::ethernet_header_length + stack::wire::ipv4_header_length;
    const std::size_t length = offset + header_length + payload_length;
    stack::wire::write_ethernet(frame, link);
    stack::wire::IpHeader ip;
    ip.source = source.address;
    ip.destination = destination.address;
    ip.protocol = stack::wire::IpProtocol::tcp;
    ip.total_length = static_cast<std::uint16_t>(length - stack::wire::ethernet_header_length);
    stack::wire::write_ipv4(frame.subspan(stack::wire::ethernet_header_length), ip);
    const auto segment = frame.subspan(offset, header_length + payload_length);
    stack::wire::write_tcp(segment, header);
    const auto pseudo = stack::wire::pseudo_header_sum(ip.source, ip.destination, 6,
                                                       static_cast<std::uint32_t>(segment.size()));
    stack::wire::store16(segment.data() + stack::wire::tcp_checksum_offset,
                         stack::wire::checksum_finish(stack::wire::checksum_add(segment, pseudo)));
    return frame.first(length);
}

}  // namespace

std::span<const std::byte> Clients::segment(std::span<std::byte, max_frame> frame, std::size_t i,
                                            std::uint8_t flags, std::uint32_t payload_length,
                                            std::uint32_t tsval) {
    Client& client = clients_[i];
    stack::wire::TcpHeader header;
    header.seq = stack::Seq(client.seq);
    header.ack = stack::Seq((flags & TcpFlags::ack) != 0 ? client.ack : 0);
    header.flags.bits = flags;
    header.options.tsval = tsval;
    header.options.tsecr = client.tsecr;
    client.seq += payload_length + ((flags & (TcpFlags::syn | TcpFlags::fin)) != 0 ? 1 : 0);
    return write_segment(frame, {service_link, client_link, stack::wire::EtherType::ipv4}, endpoint_of(i),
                         service, header, payload_length);
}

std::span<const std::byte> Clients::primary_segment(std::span<std::byte, max_frame> frame, std::size_t i,
                                                    std::uint8_t flags, std::uint32_t tsval) {
    Client& client = clients_[i];
    stack::wire::TcpHeader header;
    header.seq = stack::Seq(client.ack);
    header.ack = stack::Seq(client.seq);
    header.flags.bits = flags;
    header.options.tsval = client.tsecr = tsval;
    header.options.tsecr = tsval;
    client.ack += (flags & TcpFlags::syn) != 0 ? 1 : 0;
    return write_segment(frame, {client_link, primary_link, stack::wire::EtherType::ipv4}, service,
                         endpoint_of(i), header, 0);
}

}  // namespace understudy::bench
