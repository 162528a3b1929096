// The TCP header and its options (RFC 9293 3.1 and 3.2, RFC 7323, RFC 2018).
#pragma once

#include <array>
#include <optional>

#include "stack/seq.hh"
#include "stack/wire/bytes.hh"

namespace understudy::stack::wire {

inline constexpr std::size_t tcp_header_length = 20;  // without options
inline constexpr std::size_t tcp_max_options_length = 40;
inline constexpr std::size_t max_sack_blocks = 4;

struct TcpFlags {
    static constexpr std::uint8_t fin = 0x01, syn = 0x02, rst = 0x04, psh = 0x08, ack = 0x10, urg = 0x20,
                                  ece = 0x40, cwr = 0x80;
    std::uint8_t bits = 0;

    constexpr bool has(std::uint8_t mask) const { return (bits & mask) != 0; }
};

// Octets from `begin` up to `end`.
struct SeqRange {
    Seq begin;
    Seq end;
    friend constexpr bool operator==(const SeqRange&, const SeqRange&) = default;
};

struct TcpOptions {
    std::uint16_t mss = 0;  // 0: absent
    bool window_scale_present = false;
    std::uint8_t window_scale = 0;
    bool sack_permitted = false;
    bool timestamps_present = false;
    std::uint32_t tsval = 0;
    std::uint32_t tsecr = 0;
    bool malformed = false;      // read: an option had an impossible length
    bool authenticated = false;  // read: signed (RFC 2385, RFC 5925)
    bool multipath = false;      // read: RFC 8684
    std::uint8_t sack_count = 0;
    std::array<SeqRange, max_sack_blocks> sack{};
};

struct TcpHeader {
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
    Seq seq;
    Seq ack;
    TcpFlags flags;
    std::uint16_t window = 0;  // as on the wire, not scaled
    std::uint16_t urgent = 0;  // with URG: urgent bytes from seq on
    std::uint16_t header_length = tcp_header_length;
    TcpOptions options;
};

// Reads header and options. Nothing when the header is cut or its length is impossible. A malformed option
// ends the list; the options before it hold (RFC 9293 3.1 MUST-7 asks to survive any length).
std::optional<TcpHeader> parse_tcp(Bytes segment);
// The same into `header`, which must be fresh; false where the other returns nothing. For the path of every
// segment, where a copy would be felt.
bool parse_tcp(Bytes segment, TcpHeader& header);

// The length of the options as write_tcp lays them out, a multiple of 4.
std::size_t tcp_options_length(const TcpOptions& options);
// Writes header and options with a zero checksum field; `segment` has room for
// tcp_header_length + tcp_options_length(header.options).
void write_tcp(MutableBytes segment, const TcpHeader& header);
inline constexpr std::size_t tcp_checksum_offset = 16;

}  // namespace understudy::stack::wire
