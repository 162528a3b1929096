// Selective acknowledgements: what the peer reports (RFC 2018, RFC 6675), and duplicates that are reported to
// it (RFC 2883).
#include <algorithm>

#include "stack/tcp/ack_news.hh"
#include "stack/tcp/core.hh"
#include "stack/tcp/recovery.hh"

namespace understudy::stack::tcp {
namespace {

constexpr std::uint8_t most_reordering = 100;  // segments

// RFC 2883 4: the first block tells of a duplicate if it lies below the acknowledgement, or inside the
// second.
bool is_dsack(std::span<const wire::SeqRange> blocks, Seq ack) {
    if (blocks.front().begin < ack) return true;
    return blocks.size() > 1 && blocks[0].begin >= blocks[1].begin && blocks[0].end <= blocks[1].end;
}

void take_dsack(Connection& c, Recovery& r, const wire::SeqRange& block, AckNews& news) {
    news.dsack = true;
    r.dsack_seen = true;
    news.dsack_of_probe = r.probe_out && r.probe_was_resent && block.end == r.probe_end;
    // The duplicate explains one of our retransmissions.
    const std::uint32_t room = std::max(segment_room(c), 1u);
    const auto segments =
        static_cast<std::int32_t>(std::max((distance(block.begin, block.end) + room - 1) / room, 1u));
    if (r.undo_possible && r.undo_resent > 0 && block.end <= news.prior_una && block.end > r.undo_from)
        r.undo_resent = std::max(r.undo_resent - segments, 0);
}

void take_block(Core& core, Connection& c, Recovery& r, const wire::SeqRange& block, AckNews& news) {
    for (std::uint32_t i = r.sent.find(block.begin); i < r.sent.size(); ++i) {
        const SentSegment segment = r.sent[i];
        if (segment.begin >= block.end) break;
        // A segment that was received in part was not received.
        if (segment.sacked || segment.begin < block.begin || segment.end > block.end) continue;
        r.sent.mark_sacked(i);
        ++news.delivered;
        news.data_sacked = true;
        if (!segment.ever_resent) {
            if (r.any_sacked && segment.begin < r.highest_sacked) note_reordering(c, r, segment.begin);
            if (segment.end <= r.high_seq) news.original_delivered = true;
            if (!news.sacked_rtt) news.sacked_rtt = core.now - segment.sent_at;
        }
        advance_rack(core, c, r, segment);
        if (!r.any_sacked || segment.end > r.highest_sacked) r.highest_sacked = segment.end;
        r.any_sacked = true;
    }
}

}  // namespace

void note_reordering(Connection& c, Recovery& r, Seq arrived) {
    r.reordering_seen = true;
    const std::uint32_t extent = distance(arrived, r.highest_sacked) / std::max(segment_room(c), 1u);
    c.reordering = static_cast<std::uint8_t>(
        std::clamp(extent, std::uint32_t{c.reordering}, std::uint32_t{most_reordering}));
}

void take_sack_blocks(Core& core, Connection& c, Recovery& r, const Segment& segment, AckNews& news) {
    auto ranges = segment.header.options.sack;
    std::span<wire::SeqRange> blocks(ranges.data(), segment.header.options.sack_count);
    if (is_dsack(blocks, segment.ack())) {
        if (blocks.front().begin < blocks.front().end && blocks.front().end <= c.snd_nxt)
            take_dsack(c, r, blocks.front(), news);
        blocks = blocks.subspan(1);
    }
    // In sequence order: what the peer tells at once has not arrived out of order.
    std::ranges::sort(blocks, {},
                      [&c](const wire::SeqRange& block) { return block.begin.raw() - c.iss.raw(); });
    for (const wire::SeqRange& block : blocks) {
        if (block.begin >= block.end || block.end > c.snd_nxt || block.begin < segment.ack()) {
            ++core.counters.tcp_sack_blocks_refused;
            continue;
        }
        take_block(core, c, r, block, news);
    }
}

void note_duplicate(Connection& c, Seq begin, Seq end) {
    if (!c.sack || begin >= end) return;
    c.rare().dsack = {begin, end};
    c.dsack_due = true;
}

std::uint8_t fill_sack_blocks(Connection& c, std::span<wire::SeqRange> out) {
    std::size_t count = 0;
    // RFC 2883 4: the duplicate stands first, and is told once.
    if (c.dsack_due) out[count++] = c.rare().dsack;
    c.dsack_due = false;
    if (c.out_of_order != nullptr) count += c.out_of_order->sack_blocks(out.subspan(count));
    return static_cast<std::uint8_t>(count);
}

}  // namespace understudy::stack::tcp
