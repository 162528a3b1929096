// Fragments of datagrams, over both families, in any order, cut, repeated, overlapping, forged and flooded.
//
// Every datagram is a function of its identification, and its fragments are cut from it, or are spoilt in a
// byte: so whatever reaches the application must be one of them, whole and right.
//
// Input: one byte for the mode, then operations: a byte that says what, and its arguments.
#include <algorithm>
#include <map>

#include "fuzz/input.hh"
#include "fuzz/packet.hh"
#include "fuzz/require.hh"
#include "stack/stack.hh"
#include "stack/wire/bytes.hh"

using namespace understudy;
using namespace std::chrono_literals;
using Bytes = std::vector<std::byte>;

namespace {

constexpr std::uint64_t budget_bytes = 1 << 15;
constexpr std::uint32_t max_packets = 16, max_pieces = 12;
constexpr std::size_t ethernet = 14, v4_header = 20, v6_header = 40, fragment_header = 8, udp_header = 8;
constexpr std::uint8_t protocol_udp = 17, protocol_fragment = 44;

const stack::Endpoint service = *stack::parse_endpoint("10.77.0.1:7000");
const stack::Endpoint service6 = *stack::parse_endpoint("[fd00::1]:7000");

stack::Settings settings_for(std::uint8_t mode) {
    stack::Settings settings;
    settings.udp_services = {service, service6};
    settings.link_address = *stack::parse_link_address("02:00:00:00:00:02");
    settings.initial_mode = (mode & 1) != 0 ? stack::Mode::silent : stack::Mode::master;
    settings.udp.taps = (mode & 2) != 0 ? 2 : 1;
    settings.fragments = {
        .timeout = 30s, .max_packets = max_packets, .max_pieces = max_pieces, .budget_bytes = budget_bytes};
    return settings;
}

// The datagram of an identification, as one packet in a frame.
Bytes datagram(std::uint16_t id, bool v6) {
    fuzz::TcpFields fields;
    fields.link_source = *stack::parse_link_address("02:00:00:00:00:0c");
    fields.link_destination = *stack::parse_link_address("02:00:00:00:00:02");
    fields.source = *stack::parse_endpoint(v6 ? "[fd00::64]:40000" : "10.77.0.100:40000");
    fields.destination = v6 ? service6 : service;
    Bytes body(udp_header + id % 5000);
    stack::wire::store16(body.data(), fields.source.port);
    stack::wire::store16(body.data() + 2, fields.destination.port);
    stack::wire::store16(body.data() + 4, static_cast<std::uint16_t>(body.size()));
    for (std::size_t i = udp_header; i < body.size(); ++i)
        body[i] = static_cast<std::byte>(i * 31 + id * 7 + (i >> 8));
    return fuzz::build_ip(fields, protocol_udp, body);
}

struct Cut {
    std::size_t begin = 0;  // of the IP payload
    std::size_t length = 0;
    bool more = false;
};

Bytes fragment(const Bytes& whole, bool v6, std::uint16_t id, const Cut& cut, std::uint8_t ecn) {
    const std::size_t header = ethernet + (v6 ? v6_header : v4_header);
    const std::size_t length = whole.size() - header;
    const std::size_t begin = std::min(cut.begin, length), end = std::min(begin + cut.length, length);
    Bytes frame(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(header));
    std::byte* const ip = frame.data() + ethernet;
    if (v6) {
        frame.resize(header + fragment_header);
        std::byte* const p = frame.data() + header;
        stack::wire::store8(frame.data() + ethernet + 6, protocol_fragment);
        stack::wire::store8(p, protocol_udp);
        stack::wire::store16(p + 2, static_cast<std::uint16_t>((cut.begin & 0xfff8) | (cut.more ? 1 : 0)));
        stack::wire::store32(p + 4, id);
    } else {
        stack::wire::store8(ip + 1, ecn & 3);
        stack::wire::store16(ip + 4, id);
        stack::wire::store16(ip + 6,
                             static_cast<std::uint16_t>((cut.begin >> 3 & 0x1fff) | (cut.more ? 0x2000 : 0)));
    }
    frame.insert(frame.end(), whole.begin() + static_cast<std::ptrdiff_t>(header + begin),
                 whole.begin() + static_cast<std::ptrdiff_t>(header + end));
    fuzz::correct(frame);
    return frame;
}

class World final : stack::FrameSink, stack::ConnectionEvents, stack::RandomSource {
  public:
    explicit World(std::uint8_t mode)
        : silent_((mode & 1) != 0),
          taps_((mode & 2) != 0 ? 2 : 1),
          stack_(settings_for(mode), *this, *this, *this) {}

    void receive(const Bytes& frame, std::uint8_t how) {
        const auto source = silent_ ? stack::Source::tap_from_client : stack::Source::service;
        const stack::ReceivedFrame received{source, frame, static_cast<std::uint32_t>(frame.size()), false,
                                            static_cast<std::uint8_t>(silent_ ? how % taps_ : 0)};
        stack_.receive(std::span(&received, 1), now_);
        fuzz::require(stack_.fragment_bytes() <= budget_bytes, "what is held stays within its budget");
    }
    void pass(stack::Duration time) {
        now_ += time;
        stack_.advance(now_);
    }
    // Nothing is held for ever.
    void end() {
        pass(31s);
        fuzz::require(stack_.fragment_bytes() == 0, "pieces are forgotten in the end");
    }
    std::size_t delivered(std::uint16_t id, bool v6) {
        const auto found = delivered_.find({id, v6});
        return found == delivered_.end() ? 0 : found->second;
    }

  private:
    std::span<std::byte> reserve(std::size_t length) override {
        fuzz::require(!silent_, "nothing leaves a silent replica");
        room_.resize(length);
        return room_;
    }
    void commit() override {}
    std::uint64_t next() override { return random_ += 0x9e3779b97f4a7c15; }
    void accepted(stack::ConnectionId, const stack::Endpoint&, const stack::Endpoint&) override {}
    void connected(stack::ConnectionId) override {}
    std::size_t received(stack::ConnectionId, std::span<const std::byte> bytes) override {
        return bytes.size();
    }
    void peer_closed(stack::ConnectionId) override {}
    void writable(stack::ConnectionId) override {}
    void closed(stack::ConnectionId, stack::CloseReason) override {}
    void datagram(const stack::Endpoint& to, const stack::Endpoint&,
                  std::span<const std::byte> bytes) override {
        const bool v6 = to == service6;
        // The identification is not told: a datagram of its bytes must exist. Short ones say little.
        for (std::uint32_t id = static_cast<std::uint32_t>(bytes.size()); id <= 0xffff; id += 5000) {
            const Bytes whole = ::datagram(static_cast<std::uint16_t>(id), v6);
            const std::size_t header = ethernet + (v6 ? v6_header : v4_header) + udp_header;
            if (!std::equal(bytes.begin(), bytes.end(), whole.begin() + static_cast<std::ptrdiff_t>(header),
                            whole.end()))
                continue;
            ++delivered_[{static_cast<std::uint16_t>(id), v6}];
            return;
        }
        fuzz::require(false, "the application gets what was sent, whole");
    }

    const bool silent_;
    const unsigned taps_;
    stack::Instant now_{1h};
    std::uint64_t random_ = 1;
    Bytes room_;
    std::map<std::pair<std::uint16_t, bool>, std::size_t> delivered_;
    stack::Stack stack_;
};

// All pieces of a datagram, each once, in an order that the input says: it must arrive.
void send_whole(World& world, fuzz::Input& input, std::uint16_t id, bool v6) {
    const Bytes whole = datagram(id, v6);
    const std::size_t length = whole.size() - ethernet - (v6 ? v6_header : v4_header);
    const std::size_t least = (length / max_pieces + 8) & ~std::size_t{7};
    const std::size_t size = least + (input.u8() & 0x7fu) * 8;
    std::vector<Cut> cuts;
    for (std::size_t at = 0; at < length; at += size)
        cuts.push_back({at, size, at + size < length});
    if (cuts.size() < 2) return;
    for (std::size_t i = cuts.size() - 1; i > 0; --i)
        std::swap(cuts[i], cuts[input.u8() % (i + 1)]);
    const std::size_t before = world.delivered(id, v6);
    for (const Cut& cut : cuts)
        world.receive(fragment(whole, v6, id, cut, 0), 0);
    fuzz::require(world.delivered(id, v6) == before + 1, "a datagram whose pieces all came is delivered");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    World world(input.u8());
    std::uint16_t fresh = 0x8000;  // identifications of wholes: no piece was seen before
    while (!input.empty()) {
        const std::uint8_t what = input.u8();
        const bool v6 = (what & 0x80) != 0;
        switch (what & 7) {
            case 0:
                world.pass(1ms * input.u8());
                break;
            case 1:
                world.pass(1s * (input.u8() % 40));
                break;
            case 2:
                if (fresh < 0xff00)
                    send_whole(world, input, fresh = static_cast<std::uint16_t>(fresh + 37), v6);
                break;
            default: {
                const std::uint16_t id = input.u16() & 0x3fff;
                const Cut cut{std::size_t{input.u8()} * 8 * (what & 8 ? 24u : 1u),
                              std::size_t{input.u8()} * ((what & 16) != 0 ? 8u : 1u), (what & 32) != 0};
                Bytes frame = fragment(datagram(id, v6), v6, id, cut, static_cast<std::uint8_t>(what >> 3));
                // A spoilt byte of the payload: the datagram's checksum shows it, if it comes that far.
                const std::size_t headers = ethernet + (v6 ? v6_header + fragment_header : v4_header);
                if ((what & 64) != 0 && frame.size() > headers + udp_header)
                    frame[headers + udp_header + input.u8() % (frame.size() - headers - udp_header)] ^=
                        std::byte{1};
                world.receive(frame, input.u8());
                break;
            }
        }
    }
    world.end();
    return 0;
}
