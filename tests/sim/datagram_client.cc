#include "tests/sim/datagram_client.hh"

#include <fmt/format.h>

#include <algorithm>

#include "stack/wire/checksum.hh"
#include "stack/wire/ip_packet.hh"
#include "stack/wire/udp.hh"

namespace understudy::sim {
namespace {

namespace wire = stack::wire;

constexpr std::size_t number_bytes = 4;  // a request begins with its number

std::vector<std::byte> make_request(std::uint32_t number, std::size_t length, std::uint64_t key) {
    std::vector<std::byte> bytes = Pattern(key).bytes(0, std::max(length, number_bytes));
    wire::store32(bytes.data(), number);
    return bytes;
}

Frame make_frame(const stack::LinkAddress& from_link, const stack::LinkAddress& to_link,
                 const stack::Endpoint& from, const stack::Endpoint& to, std::uint16_t identification,
                 std::span<const std::byte> payload) {
    constexpr std::size_t ip_at = wire::ethernet_header_length;
    const std::size_t udp_at = ip_at + wire::ip_header_length(from.address);
    const std::size_t length = wire::udp_header_length + payload.size();
    std::vector<std::byte> frame(udp_at + length);
    wire::write_ethernet(frame, {to_link, from_link, wire::EtherType::ipv4});
    wire::IpHeader ip;
    ip.source = from.address;
    ip.destination = to.address;
    ip.protocol = wire::IpProtocol::udp;
    ip.total_length = static_cast<std::uint32_t>(frame.size() - ip_at);
    ip.identification = identification;
    wire::write_ip(std::span(frame).subspan(ip_at), ip);
    const auto datagram = std::span(frame).subspan(udp_at);
    wire::write_udp(datagram, {from.port, to.port, static_cast<std::uint16_t>(length), 0});
    std::copy(payload.begin(), payload.end(), datagram.begin() + wire::udp_header_length);
    const auto pseudo =
        wire::pseudo_header_sum(from.address, to.address, 17, static_cast<std::uint32_t>(length));
    const std::uint16_t sum = wire::checksum_finish(wire::checksum_add(datagram, pseudo));
    wire::store16(datagram.data() + wire::udp_checksum_offset, sum == 0 ? 0xffff : sum);
    return std::make_shared<const std::vector<std::byte>>(std::move(frame));
}

}  // namespace

DatagramClient::DatagramClient(const DatagramPlan& plan, const stack::Endpoint& service,
                               const stack::LinkAddress& server_link, EventQueue& queue, Random random,
                               Transmit transmit, Accuse accuse)
    : plan_(plan),
      service_(service),
      server_link_(server_link),
      queue_(queue),
      random_(random),
      transmit_(std::move(transmit)),
      accuse_(std::move(accuse)) {
    queue_.at(plan_.begins_at, [this] { ask(); });
}

void DatagramClient::ask() {
    const auto number = static_cast<std::uint32_t>(requests_.size());
    requests_.push_back({make_request(number, random_.below(plan_.largest_request + 1), random_.next())});
    send(number);
}

void DatagramClient::send(std::uint32_t number) {
    Request& request = requests_[number];
    ++request.asked;
    transmit_(make_frame(plan_.link_address, server_link_, plan_.client, service_, identification_++,
                         request.bytes));
    queue_.after(plan_.patience,
                 [this, number, asked = request.asked] { ask_again_unless_answered(number, asked); });
}

void DatagramClient::ask_again_unless_answered(std::uint32_t number, std::uint32_t asked) {
    if (requests_[number].answers != 0 || requests_[number].asked != asked) return;
    ++repeats_;
    send(number);
}

void DatagramClient::arrive(const Frame& frame) {
    const Packet packet = read_frame(*frame, SIZE_MAX).packet;
    if (packet.kind == Packet::Kind::arp && packet.arp_sender == service_.address)
        server_link_ = packet.arp_sender_link;
    if (packet.kind == Packet::Kind::udp && packet.destination == plan_.client) take_answer(packet);
}

void DatagramClient::take_answer(const Packet& packet) {
    if (!(packet.source == service_))
        return accuse_("source",
                       fmt::format("{} was answered by {}", name(), stack::to_string(packet.source)));
    const std::uint32_t number =
        packet.payload.size() < number_bytes ? UINT32_MAX : wire::load32(packet.payload.data());
    if (number >= requests_.size() || !std::ranges::equal(requests_[number].bytes, packet.payload))
        return accuse_("answer", name() + " was told what it never asked");
    Request& request = requests_[number];
    bytes_checked_ += packet.payload.size();
    if (++request.answers > request.asked + (forgiving_ ? 1 : 0))
        accuse_("repeat", fmt::format("{} asked {} times for number {} and was answered {} times", name(),
                                      request.asked, number, request.answers));
    if (request.answers != 1) return;
    ++answered_;
    if (!is_done()) queue_.after(random_.between(Duration::zero(), plan_.think), [this] { ask(); });
}

}  // namespace understudy::sim
