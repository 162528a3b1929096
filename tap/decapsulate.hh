// Takes tags and tunnels off mirrored frames: what lies within is what the primary and its clients exchanged.
//
// Mirrors tag (IEEE 802.1Q, 802.1ad) and encapsulate (ERSPAN; VXLAN in clouds). The stack and the filter see
// the innermost Ethernet frame, untagged; where a tunnel carries IP alone, the link-level addresses are those
// of the frame around it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "tap/frame.hh"

namespace understudy::tap {

// What may be taken off, one bit each.
enum class Wrapping : std::uint32_t {
    vlan = 1 << 0,       // IEEE 802.1Q, 802.1ad and the older QinQ types
    snap = 1 << 1,       // LLC and SNAP (RFC 1042)
    pbb = 1 << 2,        // IEEE 802.1ah, the I-TAG
    mpls = 1 << 3,       // RFC 3032, over it IP or a pseudowire with control word (RFC 4448)
    pppoe = 1 << 4,      // RFC 2516
    gre = 1 << 5,        // RFC 2784, 2890; version 1 as PPTP uses it (RFC 2637)
    erspan = 1 << 6,     // types I, II and III (draft-foschiano-erspan)
    vxlan = 1 << 7,      // RFC 7348, UDP port 4789
    geneve = 1 << 8,     // RFC 8926, UDP port 6081
    ip_in_ip = 1 << 9,   // RFC 2003, 2473, 4213
    ether_ip = 1 << 10,  // RFC 3378
    teredo = 1 << 11,    // RFC 4380, UDP port 3544
    gtp = 1 << 12,       // 3GPP TS 29.281, UDP port 2152
};

class Wrappings {
  public:
    constexpr Wrappings() = default;
    constexpr bool has(Wrapping w) const { return (bits_ & static_cast<std::uint32_t>(w)) != 0; }
    constexpr Wrappings with(Wrapping w) const { return Wrappings(bits_ | static_cast<std::uint32_t>(w)); }
    static constexpr Wrappings all() { return Wrappings((1u << 13) - 1); }
    // What is no tunnel but another form of the same frame: always taken off.
    static constexpr Wrappings tags() { return Wrappings{}.with(Wrapping::vlan).with(Wrapping::snap); }

  private:
    constexpr explicit Wrappings(std::uint32_t bits) : bits_(bits) {}
    std::uint32_t bits_ = 0;
};

// "vxlan"; nothing for another name.
std::optional<Wrapping> parse_wrapping(std::string_view name);
// The names that parse_wrapping knows, in one line.
std::string_view wrapping_names();

// How a frame fared; each frame counts in exactly one of the first four. The others count what was taken off:
// several may stand around one frame.
struct DecapsulationCounters {
    std::uint64_t plain = 0;   // nothing to take off
    std::uint64_t opened = 0;  // something was
    std::uint64_t malformed =
        0;  // refused: cut, or a length that cannot be, inside of what was to be taken off
    std::uint64_t too_deep = 0;  // refused: more headers than any mirror adds
    std::uint64_t vlan = 0;
    std::uint64_t snap = 0;
    std::uint64_t pbb = 0;
    std::uint64_t mpls = 0;
    std::uint64_t pppoe = 0;
    std::uint64_t gre = 0;
    std::uint64_t erspan = 0;
    std::uint64_t vxlan = 0;
    std::uint64_t geneve = 0;
    std::uint64_t ip_in_ip = 0;
    std::uint64_t ether_ip = 0;
    std::uint64_t teredo = 0;
    std::uint64_t gtp = 0;
    // A header that is known and was left as it is, for the setting does not name it.
    std::uint64_t left_closed = 0;
    // A fragment of a tunnel's packet, or a payload that no frame can be made of; left as it is.
    std::uint64_t unopenable = 0;
};

struct DecapsulationCounterInfo {
    const char* name;
    const char* help;
    std::uint64_t DecapsulationCounters::*value;
};

// Every member of DecapsulationCounters once, in its order.
std::span<const DecapsulationCounterInfo> decapsulation_counter_table();

// What is inside a frame: an Ethernet frame of its own (`header` empty), or a packet whose header is to stand
// before it.
struct Opened {
    std::span<const std::byte> payload;
    bool has_header = false;  // `header` is to stand before `payload`
    std::byte header[14]{};
};

// Pure: looks for the innermost Ethernet frame in `frame`. Nothing when it is to be refused; counted.
std::optional<Opened> open_frame(std::span<const std::byte> frame, Wrappings wrappings,
                                 DecapsulationCounters& counters);

// Opens a burst of frames at a time. A frame with nothing to take off is handed on as it is; another is
// copied, and lies still until begin_burst().
class Decapsulator {
  public:
    // `burst`: the most frames between two calls of begin_burst().
    Decapsulator(Wrappings wrappings, std::size_t burst);

    void begin_burst() { used_ = 0; }
    // The innermost frame; its wire length is less what was taken off, its handle is null where it was
    // copied. Nothing when it is to be refused; counted.
    std::optional<Frame> open(const Frame& frame);

    const DecapsulationCounters& counters() const { return counters_; }

  private:
    static constexpr std::size_t slot_bytes = 65536 + 64;  // the largest IP packet, and headers

    Wrappings wrappings_;
    std::size_t burst_;
    std::unique_ptr<std::byte[]> copies_;  // made when the first frame is opened
    std::size_t used_ = 0;
    DecapsulationCounters counters_;
};

}  // namespace understudy::tap
