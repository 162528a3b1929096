// What arrives for a connection in TIME-WAIT (RFC 9293 3.10.7.4, RFC 6191).
#include "stack/tcp/time_wait.hh"

#include "stack/tcp/core.hh"

namespace understudy::stack::tcp {
namespace {

using wire::TcpFlags;

// A number that no segment of the earlier incarnation can carry (RFC 9293 3.6.1, MAY-2).
Seq next_incarnation(const TimeWait& record) {
    return record.snd_nxt + 65535 + 2;
}

void acknowledge(Core& core, TimeWait& record, const Segment& segment) {
    const std::uint32_t ms = milliseconds(core.now);
    const auto interval =
        std::chrono::duration_cast<std::chrono::milliseconds>(core.settings.tcp.invalid_ack_interval);
    if (record.answered_invalid && ms - record.answered_invalid_at < interval.count()) {
        ++core.counters.tcp_acks_throttled;
        return;
    }
    record.answered_invalid = true;
    record.answered_invalid_at = ms;
    wire::TcpHeader header;
    header.source_port = segment.local.port;
    header.destination_port = segment.remote.port;
    header.seq = record.snd_nxt;
    header.ack = record.rcv_nxt;
    header.flags.bits = TcpFlags::ack;
    header.window = record.window;
    if (record.timestamps) {
        header.options.timestamps_present = true;
        header.options.tsval = record.ts_offset + ticks_at(core.now, record.ts_tick);
        header.options.tsecr = record.ts_recent;
    }
    send_control(core, segment.local, segment.remote, record.peer_link, record.ttl, header);
}

}  // namespace

void remember_time_wait(Core& core, const Connection& c) {
    TimeWait record;
    record.key = c.key;
    record.peer_link = c.peer_link;
    record.ttl = c.ttl;
    record.timestamps = c.timestamps;
    record.snd_nxt = c.snd_max;
    record.rcv_nxt = c.rcv_nxt;
    const std::uint32_t window = c.rcv_edge > c.rcv_nxt ? distance(c.rcv_nxt, c.rcv_edge) : 0;
    record.window = static_cast<std::uint16_t>(std::min(window >> c.rcv_scale, 0xffffu));
    record.ts_recent = c.ts_recent;
    record.ts_recent_at = c.ts_recent_at;
    record.ts_offset = c.ts_offset;
    record.ts_tick = c.ts_tick();
    record.until = core.now + core.settings.tcp.time_wait;
    // Like Linux the connection is closed at once where there is no room (its protection against old
    // duplicates is lost, not memory).
    if (!core.time_wait.add(record)) ++core.counters.time_wait_overflow;
}

bool time_wait_input(Core& core, const Segment& segment) {
    const FlowKey key = core.key_of(segment.remote, segment.local);
    TimeWait* record = core.time_wait.find(key);
    if (record == nullptr) return false;
    const wire::TcpOptions& options = segment.header.options;
    const bool stamped = record->timestamps && options.timestamps_present;
    const auto age = static_cast<std::int32_t>(options.tsval - record->ts_recent);
    const bool old = stamped && age < 0 && !segment.has(TcpFlags::rst) &&
                     seconds(core.now) - record->ts_recent_at < paws_idle_seconds;
    if (!old && segment.seq() == record->rcv_nxt && segment.has(TcpFlags::rst)) {
        // RFC 9293 3.10.7.4 closes; RFC 1337 advises against, and is a setting.
        if (!core.settings.tcp.time_wait_ignores_reset) core.time_wait.remove(key);
        return true;
    }
    if (!old && segment.seq() == record->rcv_nxt && segment.length() == 0) {
        if (stamped && age >= 0) {
            record->ts_recent = options.tsval;
            record->ts_recent_at = seconds(core.now);
        }
        core.time_wait.refresh(key, core.now + core.settings.tcp.time_wait);
        return true;
    }
    const bool bare_syn = segment.has(TcpFlags::syn) && !segment.has(TcpFlags::rst | TcpFlags::ack);
    // RFC 6191 2: a newer timestamp, or else a newer sequence number, is a new connection.
    if (bare_syn && !old && (segment.seq() > record->rcv_nxt || (stamped && age > 0)) &&
        core.is_service(segment.local)) {
        const Seq isn = next_incarnation(*record);
        core.time_wait.remove(key);
        ++core.counters.time_wait_reused;
        listen_input(core, segment, isn);
        return true;
    }
    if (old) ++core.counters.drop_paws;
    if (segment.has(TcpFlags::rst)) {
        ++core.counters.drop_bad_reset;
        return true;
    }
    // A lone SYN may be a new connection with a lower number: it must be able to outlive the record.
    if (old || segment.has(TcpFlags::ack))
        core.time_wait.refresh(key, core.now + core.settings.tcp.time_wait);
    acknowledge(core, *core.time_wait.find(key), segment);
    return true;
}

std::optional<Seq> leave_time_wait(Core& core, const FlowKey& key) {
    const TimeWait* record = core.time_wait.find(key);
    if (record == nullptr) return std::nullopt;
    const Seq isn = next_incarnation(*record);
    core.time_wait.remove(key);
    ++core.counters.time_wait_reused;
    return isn;
}

bool is_reusable(const Core& core, const TimeWait& record) {
    // RFC 6191 2 from the other end: a second later our timestamp is newer than any of the old incarnation.
    return core.settings.tcp.time_wait_reuse && record.timestamps &&
           seconds(core.now) - record.ts_recent_at >= 1;
}

}  // namespace understudy::stack::tcp
