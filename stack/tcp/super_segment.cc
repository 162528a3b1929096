#include "stack/tcp/super_segment.hh"

#include <cassert>

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

using wire::TcpFlags;

constexpr std::uint8_t ending = TcpFlags::psh | TcpFlags::fin;  // ports set these on the last segment alone

// What all segments of a frame have in common.
bool have_equal_headers(const wire::TcpHeader& a, const wire::TcpHeader& b) {
    return a.ack == b.ack && a.window == b.window && ((a.flags.bits ^ b.flags.bits) & ~ending) == 0 &&
           a.options.timestamps_present == b.options.timestamps_present &&
           a.options.tsval == b.options.tsval && a.options.tsecr == b.options.tsecr &&
           !b.flags.has(TcpFlags::urg) &&  // each has a pointer of its own
           b.options.sack_count == 0;
}

void finish_segment(const Core& core, const Outgoing& segment, wire::MutableBytes bytes) {
    wire::write_tcp(bytes, segment.header);
    wire::store16(bytes.data() + wire::tcp_checksum_offset,
                  wire::transport_checksum(bytes, segment.local.address, segment.remote.address,
                                           static_cast<std::uint8_t>(wire::IpProtocol::tcp),
                                           core.settings.transport_checksums));
}

}  // namespace

SuperSegment::Collect::Collect(Core& core) : core_(core) {
    assert(!core.super_segment.collecting_);
    core.super_segment.collecting_ = core.settings.super_segment_bytes != 0;
}

SuperSegment::Collect::~Collect() {
    if (core_.super_segment.open_) core_.super_segment.close(core_);
    core_.super_segment.collecting_ = false;
}

bool SuperSegment::send(Core& core, const Outgoing& segment) {
    if (open_) {
        if (goes_on_with(core, segment) && append(core, segment)) return true;
        close(core);
    }
    wire::IpHeader ip;
    ip.source = segment.local.address;
    ip.destination = segment.remote.address;
    ip.protocol = wire::IpProtocol::tcp;
    ip.ttl = segment.ttl;
    ip.traffic_class = segment.traffic_class;
    const std::size_t tcp_length = segment.tcp_length();
    const auto bytes = core.begin_packet(segment.link, ip, tcp_length + segment.payload_length);
    if (bytes.empty()) return false;
    if (segment.payload_length != 0) segment.queue->copy(segment.header.seq, bytes.subspan(tcp_length));
    ++core.counters.tcp_segments_sent;
    if (begins_here(core, segment)) {
        open_ = true;
        first_ = segment;
        ip_ = ip;
        head_ = bytes;
        segments_ = 1;
        payload_length_ = segment.payload_length;
        return true;
    }
    finish_segment(core, segment, bytes);
    core.gate.commit();
    return true;
}

// A frame for an address that is being resolved waits elsewhere; CWR is for one segment alone, and ports
// differ in what they make of it.
bool SuperSegment::begins_here(const Core& core, const Outgoing& segment) const {
    return collecting_ && segment.payload_length != 0 && !segment.link.is_zero() &&
           (segment.header.flags.bits & (ending | TcpFlags::cwr)) == 0 &&
           segment.header.options.sack_count == 0 &&
           wire::ip_header_length(segment.local.address) + segment.tcp_length() +
                   2 * std::size_t{segment.payload_length} <=
               core.settings.super_segment_bytes;
}

bool SuperSegment::goes_on_with(const Core& core, const Outgoing& segment) const {
    const std::size_t length = wire::ip_header_length(first_.local.address) + first_.tcp_length() +
                               payload_length_ + segment.payload_length;
    return segment.payload_length != 0 && segment.payload_length <= first_.payload_length &&
           length <= core.settings.super_segment_bytes && segment.queue == first_.queue &&
           segment.header.seq == first_.header.seq + payload_length_ &&
           segment.traffic_class == first_.traffic_class && segment.ttl == first_.ttl &&
           segment.link == first_.link && have_equal_headers(first_.header, segment.header);
}

bool SuperSegment::append(Core& core, const Outgoing& segment) {
    const auto room = core.gate.extend(segment.payload_length);
    if (room.empty()) return false;
    segment.queue->copy(segment.header.seq, room);
    ++core.next_ip_identification;
    ++core.counters.tcp_segments_sent;
    ++segments_;
    payload_length_ += segment.payload_length;
    const std::uint8_t end = segment.header.flags.bits & ending;
    first_.header.flags.bits |= end;
    if (end != 0 || segment.payload_length < first_.payload_length) close(core);
    return true;
}

void SuperSegment::close(Core& core) {
    open_ = false;
    if (segments_ == 1) {
        finish_segment(core, first_, head_);
        core.gate.commit();
        return;
    }
    const std::size_t ip_length = wire::ip_header_length(first_.local.address);
    const auto tcp_length = static_cast<std::uint32_t>(first_.tcp_length() + payload_length_);
    ip_.total_length = static_cast<std::uint32_t>(ip_length) + tcp_length;
    wire::write_ip({head_.data() - ip_length, ip_length}, ip_);
    wire::write_tcp(head_, first_.header);
    wire::store16(head_.data() + wire::tcp_checksum_offset,
                  wire::checksum_fold(
                      wire::pseudo_header_sum(first_.local.address, first_.remote.address,
                                              static_cast<std::uint8_t>(wire::IpProtocol::tcp), tcp_length)));
    core.gate.commit_segments(static_cast<std::uint16_t>(first_.payload_length));
    ++core.counters.tcp_super_segments_sent;
}

}  // namespace understudy::stack::tcp
