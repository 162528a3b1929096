#include "tests/sim/oracles.hh"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::sim {
namespace {

// The offset of `seq` in a stream that begins after `isn`; streams here are shorter than 2 GiB.
std::int64_t offset_of(std::uint32_t seq, std::uint32_t isn) {
    return static_cast<std::int32_t>(seq - isn - 1);
}

}  // namespace

Packet FormOracle::on_sent(const std::string& node, const stack::LinkAddress& own, const Frame& frame) const {
    ReadFrame read = read_frame(*frame, mtu_);
    if (read.fault.empty() && read.packet.source_link != own) read.fault = "a foreign source address";
    if (!read.fault.empty()) accuse_("form", fmt::format("{} sent a frame with: {}", node, read.fault));
    return read.packet;
}

void SilenceOracle::on_replica_sent(const Packet& packet) {
    if (taken_over_) return;
    ++frames_;
    accuse_("silence", "the replica sent before it took over: " + to_string(packet));
}

void ResetOracle::on_server_sent(const std::string& node, const Packet& packet) const {
    if (packet.kind == Packet::Kind::tcp && packet.has(Packet::rst) && is_live_(packet.destination))
        accuse_("reset", fmt::format("{} reset a live connection: {}", node, to_string(packet)));
}

void ConversationOracle::on_sent(const std::string& node, bool from_server, const Packet& packet) {
    if (packet.kind != Packet::Kind::tcp || packet.has(Packet::rst)) return;
    Conversation& conversation = conversations_[from_server ? packet.destination : packet.source];
    Stream& from = from_server ? conversation.server : conversation.client;
    Stream& to = from_server ? conversation.client : conversation.server;
    const std::string where = fmt::format("{} to {}", node, stack::to_string(packet.destination));
    if (packet.has(Packet::syn)) on_syn(where, from, to, packet);
    if (forgiving_ && from_server && packet.has(Packet::syn) && from.isn != packet.seq) return;
    if (packet.has(Packet::ack_flag)) on_acknowledgement(where, from_server, from, to, packet);
    if (!packet.has(Packet::syn)) on_payload(where, from, to, packet);
}

void ConversationOracle::on_syn(const std::string& where, Stream& from, const Stream& to,
                                const Packet& packet) {
    // A server may choose anew while no client has taken its first choice.
    const bool taken = from.end != 0 || from.fin || to.acked;
    from.offered_isns.push_back(packet.seq);
    if (from.opened && from.isn != packet.seq && taken && forgiving_) return;
    if (from.opened && from.isn != packet.seq && taken)
        accuse_("conversation", fmt::format("{}: a second initial sequence number, {} after {}", where,
                                            packet.seq, from.isn));
    from.opened = true;
    from.isn = packet.seq;
    from.scale = packet.window_scale.value_or(0);
}

void ConversationOracle::on_acknowledgement(const std::string& where, bool from_server, Stream& from,
                                            Stream& to, const Packet& packet) {
    if (!from.acked && std::count(to.offered_isns.begin(), to.offered_isns.end(), packet.ack - 1) != 0)
        to.isn = packet.ack - 1;
    const std::int64_t acked = offset_of(packet.ack, to.isn);
    const std::int64_t sent = to.end + (to.fin ? 1 : 0);
    if (!to.opened || acked > sent)
        accuse_("conversation", fmt::format("{}: acknowledges {} bytes of {} sent", where, acked, sent));
    if (from.acked && acked < *from.acked && !(forgiving_ && from_server))
        accuse_("conversation",
                fmt::format("{}: takes its acknowledgement back from {} to {}", where, *from.acked, acked));
    from.acked = std::max(acked, from.acked.value_or(acked));
    const int scale = packet.has(Packet::syn) ? 0 : from.scale;
    from.edge = std::max(from.edge, acked + (std::int64_t{packet.window} << scale));
}

void ConversationOracle::on_payload(const std::string& where, Stream& from, const Stream& to,
                                    const Packet& packet) {
    const std::int64_t begin = offset_of(packet.seq, from.isn);
    const auto length = static_cast<std::int64_t>(packet.payload.size());
    const std::int64_t end = begin + length;
    if (length != 0 && begin < 0) return accuse_("conversation", where + ": data before the stream begins");
    if (length != 0 && end > to.edge + 1)  // one byte probes a closed window
        accuse_("conversation",
                fmt::format("{}: sends up to {}, the window ends at {}", where, end, to.edge));
    if (length != 0 && from.fin && end > *from.fin)
        accuse_("conversation",
                fmt::format("{}: sends up to {}, its FIN stood at {}", where, end, *from.fin));
    if (packet.has(Packet::fin)) {
        if (end < from.end || (from.fin && *from.fin != end))
            accuse_("conversation", fmt::format("{}: FIN at {}, the stream ends at {}", where, end,
                                                from.fin.value_or(from.end)));
        from.fin = end;
    }
    if (length == 0) return;
    from.end = std::max(from.end, end);
    const auto size = static_cast<std::size_t>(from.end);
    from.bytes.resize(std::max(from.bytes.size(), size));
    from.known.resize(std::max(from.known.size(), size));
    for (std::size_t i = 0; i < packet.payload.size(); ++i) {
        const std::size_t at = static_cast<std::size_t>(begin) + i;
        if (from.known[at] && from.bytes[at] != packet.payload[i])
            return accuse_("conversation", fmt::format("{}: a second version of byte {}", where, at));
        from.known[at] = true;
        from.bytes[at] = packet.payload[i];
    }
}

}  // namespace understudy::sim
