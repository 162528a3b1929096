#include "tests/corpus/checksums.hh"

#include <algorithm>
#include <optional>
#include <vector>

#include "stack/wire/checksum.hh"
#include "stack/wire/ethernet.hh"
#include "stack/wire/ip_packet.hh"
#include "stack/wire/tcp.hh"

namespace understudy::corpus {
namespace {

using namespace stack;

constexpr std::uint32_t modulus = 0xffff;
constexpr std::size_t ip_checksum_at = wire::ethernet_header_length + 10;

// What the checksums of one whole TCP segment are, and what they would be.
struct Sums {
    IpAddress source, destination;
    std::size_t tcp_at = 0;    // of the segment in the frame
    std::uint16_t field = 0;   // as it is
    std::uint16_t right = 0;   // as it should be
    std::uint16_t pseudo = 0;  // unfilled
    std::uint16_t ip_field = 0;
    std::uint16_t ip_right = 0;
    bool is_v4 = false;

    bool is_good() const { return field == right || field == pseudo; }
};

std::uint16_t difference(std::uint16_t a, std::uint16_t b) {
    return static_cast<std::uint16_t>((std::uint32_t{a} + modulus - b % modulus) % modulus);
}

// Of a header that is whole but for its checksum.
std::optional<Sums> read_sums(std::span<const std::byte> frame) {
    const auto link = wire::parse_ethernet(frame);
    if (!link || (link->type != wire::EtherType::ipv4 && link->type != wire::EtherType::ipv6))
        return std::nullopt;
    const auto packet = frame.subspan(wire::ethernet_header_length);
    Sums sums;
    sums.is_v4 = link->type == wire::EtherType::ipv4;
    wire::IpHeader ip;
    if (sums.is_v4) {
        if (packet.size() < wire::ipv4_header_length) return std::nullopt;
        const std::size_t length = (wire::load8(packet.data()) & 0x0fu) * 4;
        if (length < wire::ipv4_header_length || packet.size() < length) return std::nullopt;
        std::vector<std::byte> header(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(length));
        sums.ip_field = wire::load16(header.data() + 10);
        wire::store16(header.data() + 10, 0);
        sums.ip_right = wire::checksum_finish(wire::checksum_add(header));
        wire::store16(header.data() + 10, sums.ip_right);
        if (wire::parse_ipv4(header, ip) != wire::IpError::none) return std::nullopt;
    } else if (wire::parse_ipv6(packet, ip) != wire::IpError::none) {
        return std::nullopt;
    }
    if (ip.fragment || ip.protocol != wire::IpProtocol::tcp || ip.total_length > packet.size())
        return std::nullopt;
    const auto segment = packet.first(ip.total_length).subspan(ip.header_length);
    if (segment.size() < wire::tcp_header_length) return std::nullopt;
    const std::uint64_t pseudo =
        wire::pseudo_header_sum(ip.source, ip.destination, 6, static_cast<std::uint32_t>(segment.size()));
    sums.source = ip.source;
    sums.destination = ip.destination;
    sums.tcp_at = frame.size() - packet.size() + ip.header_length;
    sums.field = wire::load16(segment.data() + wire::tcp_checksum_offset);
    sums.pseudo = wire::checksum_fold(pseudo);
    std::uint64_t sum = wire::checksum_add(segment.first(wire::tcp_checksum_offset), pseudo);
    sum = wire::checksum_add(segment.subspan(wire::tcp_checksum_offset + 2), sum);
    sums.right = wire::checksum_finish(sum);
    return sums;
}

}  // namespace

void ChecksumRepair::learn(std::span<const std::byte> frame) {
    const auto sums = read_sums(frame);
    if (!sums) return;
    Evidence& evidence = evidence_[{sums->source, sums->destination}];
    if (sums->is_good()) {
        ++evidence.right;
    } else if (sums->field == 0) {
        ++evidence.zero;
    } else {
        // A filled sum is short of the number that an unfilled one has too much.
        const std::uint16_t filled = difference(sums->field, sums->right);
        const std::uint16_t unfilled = difference(sums->pseudo, sums->field);
        // Two sums over different bytes that are off by the same need no more witnesses.
        const auto weight = [&](std::uint16_t shift) {
            return sums->is_v4 && difference(sums->ip_field, sums->ip_right) == shift ? 2u : 1u;
        };
        evidence.shifts[filled] += weight(filled);
        evidence.shifts[unfilled] += weight(unfilled);
    }
}

void ChecksumRepair::settle() {
    for (auto& [pair, evidence] : evidence_) {
        const auto most = std::max_element(evidence.shifts.begin(), evidence.shifts.end(),
                                           [](const auto& a, const auto& b) { return a.second < b.second; });
        if (most != evidence.shifts.end() && most->second >= 2 && most->second > evidence.right)
            evidence.shift = most->first;
        evidence.is_zero = evidence.zero >= 2 && evidence.zero > evidence.right;
    }
}

void ChecksumRepair::apply(std::span<std::byte> frame) const {
    const auto sums = read_sums(frame);
    if (!sums) return;
    const auto found = evidence_.find({sums->source, sums->destination});
    if (found == evidence_.end()) return;
    const Evidence& evidence = found->second;
    std::byte* const field = frame.data() + sums->tcp_at + wire::tcp_checksum_offset;
    if (!sums->is_good() && evidence.is_zero && sums->field == 0) wire::store16(field, sums->right);
    if (evidence.shift == 0) return;
    if (!sums->is_good() && difference(sums->field, sums->right) == evidence.shift)
        wire::store16(field, sums->right);
    else if (!sums->is_good() && difference(sums->pseudo, sums->field) == evidence.shift)
        wire::store16(field, sums->pseudo);
    if (sums->is_v4 && difference(sums->ip_field, sums->ip_right) == evidence.shift)
        wire::store16(frame.data() + ip_checksum_at, sums->ip_right);
}

}  // namespace understudy::corpus
