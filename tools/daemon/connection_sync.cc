#include "tools/daemon/connection_sync.hh"

namespace understudy::tools {
namespace {

proto::v1::Endpoint to_proto(const stack::Endpoint& endpoint) {
    proto::v1::Endpoint result;
    const std::size_t skip = endpoint.address.is_v4() ? 12 : 0;
    result.set_address(endpoint.address.octets.data() + skip, endpoint.address.octets.size() - skip);
    result.set_port(endpoint.port);
    return result;
}

void fill(proto::v1::Excerpt& excerpt, const stack::Difference::Excerpt& from) {
    constexpr const char* digits = "0123456789abcdef";
    for (const std::byte byte : from.view()) {
        const auto value = std::to_integer<unsigned>(byte);
        if (!excerpt.hex().empty()) *excerpt.mutable_hex() += ' ';
        *excerpt.mutable_hex() += digits[value >> 4];
        *excerpt.mutable_hex() += digits[value & 15];
        *excerpt.mutable_text() += value >= 0x20 && value < 0x7f ? static_cast<char>(value) : '.';
    }
}

double to_ms(stack::Duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

proto::v1::ConnectionSync to_connection_sync(const stack::SeedRecord& record, std::int64_t wall_offset_ns) {
    proto::v1::ConnectionSync sync;
    const std::int64_t at = record.at.time_since_epoch().count();
    sync.set_monotonic_ns(at);
    sync.set_wall_ns(at + wall_offset_ns);
    *sync.mutable_client() = to_proto(record.client);
    *sync.mutable_service() = to_proto(record.service);
    sync.set_client_link(record.client_link.octets.data(), record.client_link.octets.size());
    sync.set_client_isn(record.client_isn);
    sync.set_primary_isn(record.primary_isn);
    sync.set_client_mss(record.client_mss);
    sync.set_primary_mss(record.primary_mss);
    sync.set_window_scaling(record.window_scaling);
    sync.set_client_window_scale(record.client_window_scale);
    sync.set_primary_window_scale(record.primary_window_scale);
    sync.set_timestamps(record.timestamps);
    sync.set_client_tsval(record.client_tsval);
    sync.set_primary_tsval(record.primary_tsval);
    sync.set_sack_permitted(record.sack_permitted);
    sync.set_inferred(record.inferred);
    return sync;
}

proto::v1::ConnectionRow to_connection_row(const stack::ConnectionSnapshot& s) {
    proto::v1::ConnectionRow row;
    row.set_index(s.id.index);
    row.set_generation(s.id.generation);
    row.set_client(stack::to_string(s.client));
    row.set_service(stack::to_string(s.service));
    row.set_state(stack::to_string(s.state));
    row.set_coverage(stack::to_string(s.coverage));
    row.set_detail(s.detail);
    row.set_iss(s.iss);
    row.set_irs(s.irs);
    row.set_snd_una(s.snd_una);
    row.set_snd_nxt(s.snd_nxt);
    row.set_snd_wnd(s.snd_wnd);
    row.set_rcv_nxt(s.rcv_nxt);
    row.set_rcv_wnd(s.rcv_wnd);
    row.set_primary_ack(s.primary_ack);
    row.set_app_nxt(s.app_nxt);
    row.set_unread_bytes(s.unread_bytes);
    row.set_cwnd(s.cwnd);
    row.set_bytes_received(s.bytes_received);
    row.set_bytes_sent(s.bytes_sent);
    row.set_retransmitted_segments(s.retransmitted_segments);
    row.set_srtt_ms(to_ms(s.srtt));
    row.set_rto_ms(to_ms(s.rto));
    row.set_verified(s.verified);
    row.set_lag_bytes(lag_bytes(s));
    row.set_lag_ms(to_ms(s.lag_time));
    row.set_missing_bytes(s.missing_bytes);
    row.set_missing_ms(to_ms(s.missing_for));
    row.set_overlapped(s.overlapped);
    if (s.hindrance != stack::Hindrance::none) row.set_hindrance(stack::to_string(s.hindrance));
    if (s.difference) {
        auto& difference = *row.mutable_difference();
        difference.set_offset(s.difference->offset);
        difference.set_before(s.difference->before);
        fill(*difference.mutable_application(), s.difference->application);
        fill(*difference.mutable_primary(), s.difference->primary);
    }
    return row;
}

}  // namespace understudy::tools
