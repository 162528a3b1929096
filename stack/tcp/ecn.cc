// Explicit congestion notification (RFC 3168 6.1).
#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

using wire::TcpFlags;

constexpr std::uint8_t ecn_mask = 3, not_ect = 0, ect_0 = 2, congestion_experienced = 3;
constexpr std::uint8_t quick_acks_for_mark = 2;

}  // namespace

bool accepts_ecn(const Core& core, const Segment& syn) {
    // A SYN that is itself marked breaks RFC 3168 6.1.1: its sender, or the path, is not to be trusted.
    return core.settings.tcp.ecn != Ecn::off && syn.has(TcpFlags::ece) && syn.has(TcpFlags::cwr) &&
           (syn.traffic_class & ecn_mask) == not_ect;
}

void note_congestion_marks(Core& core, Connection& c, const Segment& segment) {
    if (!c.ecn) return;
    if (segment.has(TcpFlags::cwr)) {
        c.ecn_echo = false;
        // The sender's window may be one segment.
        if (segment.length() != 0) c.ack_now = true;
    }
    if (segment.payload.empty()) return;
    switch (segment.traffic_class & ecn_mask) {
        case not_ect:
            // A retransmission, where earlier segments were marked: our acknowledgement may be lost.
            if (c.ecn_seen) acknowledge_quickly(core, c, quick_acks_for_mark);
            break;
        case congestion_experienced:
            if (!c.ecn_echo) acknowledge_quickly(core, c, quick_acks_for_mark);
            c.ecn_echo = c.ecn_seen = true;
            ++core.counters.tcp_congestion_marks;
            break;
        default:
            c.ecn_seen = true;
            break;
    }
}

std::uint8_t mark_outgoing(Connection& c, bool new_data, std::uint8_t& flags) {
    if (!c.ecn) return 0;
    if (c.ecn_echo) flags |= TcpFlags::ece;
    // RFC 3168 6.1.4 to 6.1.6: neither pure ACKs, nor retransmissions, nor window probes.
    if (!new_data || c.snd_wnd == 0) return not_ect;
    if (c.cwr_due) {
        flags |= TcpFlags::cwr;
        c.cwr_due = false;
    }
    return ect_0;
}

}  // namespace understudy::stack::tcp
