#include "stack/wire/tcp.hh"

namespace understudy::stack::wire {
namespace {

enum Kind : std::uint8_t {
    end = 0,
    nop = 1,
    mss = 2,
    window_scale = 3,
    sack_permitted = 4,
    sack = 5,
    timestamps = 8,
    md5_signature = 19,   // RFC 2385
    authentication = 29,  // RFC 5925
    multipath = 30,       // RFC 8684
};

constexpr std::uint8_t max_window_scale = 14;  // RFC 7323 2.3

void parse_option(std::uint8_t kind, Bytes body, TcpOptions& options) {
    switch (kind) {
        case Kind::mss:
            if (body.size() == 2) options.mss = load16(body.data());
            break;
        case Kind::window_scale:
            if (body.size() != 1) break;
            options.window_scale_present = true;
            options.window_scale = std::min(load8(body.data()), max_window_scale);
            break;
        case Kind::sack_permitted:
            if (body.empty()) options.sack_permitted = true;
            break;
        case Kind::timestamps:
            if (body.size() != 8) break;
            options.timestamps_present = true;
            options.tsval = load32(body.data());
            options.tsecr = load32(body.data() + 4);
            break;
        case Kind::sack:
            if (body.size() % 8 != 0) break;
            for (std::size_t at = 0; at < body.size() && options.sack_count < max_sack_blocks; at += 8)
                options.sack[options.sack_count++] = {Seq(load32(body.data() + at)),
                                                      Seq(load32(body.data() + at + 4))};
            break;
        case Kind::md5_signature:
        case Kind::authentication:
            options.authenticated = true;
            break;
        case Kind::multipath:
            options.multipath = true;
            break;
        default:
            break;
    }
}

void parse_options(Bytes bytes, TcpOptions& options) {
    // The layout of nearly every segment (RFC 7323 appendix A).
    constexpr std::uint32_t aligned_timestamps = 0x01010000u | std::uint32_t{Kind::timestamps} << 8 | 10u;
    if (bytes.size() == 12 && load32(bytes.data()) == aligned_timestamps)
        return parse_option(Kind::timestamps, bytes.subspan(4), options);
    std::size_t at = 0;
    while (at < bytes.size()) {
        const std::uint8_t kind = load8(bytes.data() + at);
        if (kind == Kind::end) return;
        if (kind == Kind::nop) {
            ++at;
            continue;
        }
        const std::size_t length = at + 1 < bytes.size() ? load8(bytes.data() + at + 1) : 0;
        if (length < 2 || at + length > bytes.size()) {
            options.malformed = true;
            return;
        }
        parse_option(kind, bytes.subspan(at + 2, length - 2), options);
        at += length;
    }
}

}  // namespace

bool parse_tcp(Bytes segment, TcpHeader& header) {
    if (segment.size() < tcp_header_length) return false;
    const std::byte* p = segment.data();
    header.header_length = static_cast<std::uint16_t>((load8(p + 12) >> 4) * 4);
    if (header.header_length < tcp_header_length || header.header_length > segment.size()) return false;
    header.source_port = load16(p);
    header.destination_port = load16(p + 2);
    header.seq = Seq(load32(p + 4));
    header.ack = Seq(load32(p + 8));
    header.flags.bits = load8(p + 13);
    header.window = load16(p + 14);
    header.urgent = load16(p + 18);
    parse_options(segment.subspan(tcp_header_length, header.header_length - tcp_header_length),
                  header.options);
    return true;
}

std::optional<TcpHeader> parse_tcp(Bytes segment) {
    TcpHeader header;
    if (!parse_tcp(segment, header)) return std::nullopt;
    return header;
}

std::size_t tcp_options_length(const TcpOptions& options) {
    std::size_t length = 0;
    if (options.mss != 0) length += 4;
    if (options.window_scale_present) length += 4;
    if (options.sack_permitted && !options.timestamps_present) length += 4;
    if (options.timestamps_present) length += 12;
    if (options.sack_count != 0) length += 4 + 8 * std::size_t{options.sack_count};
    return length;
}

void write_tcp(MutableBytes segment, const TcpHeader& header) {
    std::byte* p = segment.data();
    const TcpOptions& options = header.options;
    const std::size_t length = tcp_header_length + tcp_options_length(options);
    store16(p, header.source_port);
    store16(p + 2, header.destination_port);
    store32(p + 4, header.seq.raw());
    store32(p + 8, header.ack.raw());
    store8(p + 12, static_cast<std::uint8_t>(length / 4 << 4));
    store8(p + 13, header.flags.bits);
    store16(p + 14, header.window);
    store16(p + 16, 0);
    store16(p + 18, header.urgent);
    p += tcp_header_length;
    // As Linux lays them out, which every middlebox has seen: SACK-permitted stands where timestamps would
    // have NOPs.
    if (options.mss != 0) {
        store32(p, std::uint32_t{Kind::mss} << 24 | 4u << 16 | options.mss);
        p += 4;
    }
    const std::uint32_t permitted = std::uint32_t{Kind::sack_permitted} << 8 | 2u;
    if (options.timestamps_present) {
        const std::uint32_t before = options.sack_permitted ? permitted : 0x0101u;
        store32(p, before << 16 | std::uint32_t{Kind::timestamps} << 8 | 10u);
        store32(p + 4, options.tsval);
        store32(p + 8, options.tsecr);
        p += 12;
    } else if (options.sack_permitted) {
        store32(p, 0x01010000u | permitted);
        p += 4;
    }
    if (options.window_scale_present) {
        store32(p, std::uint32_t{Kind::nop} << 24 | std::uint32_t{Kind::window_scale} << 16 | 3u << 8 |
                       options.window_scale);
        p += 4;
    }
    if (options.sack_count != 0) {
        store32(p, 0x01010000u | std::uint32_t{Kind::sack} << 8 | (2u + 8u * options.sack_count));
        p += 4;
        for (std::size_t i = 0; i < options.sack_count; ++i, p += 8) {
            store32(p, options.sack[i].begin.raw());
            store32(p + 4, options.sack[i].end.raw());
        }
    }
}

}  // namespace understudy::stack::wire
