// Whole conversations with one live connection: segments of client and primary, calls of the application,
// time, and a promotion, in any order and with any numbers.
//
// Input: one byte of settings, then operations: one byte that names it, and what it reads.
#include <array>

#include "fuzz/input.hh"
#include "fuzz/world.hh"
#include "stack/wire/bytes.hh"

using namespace understudy;
using namespace std::chrono_literals;
using fuzz::Input;

namespace {

constexpr std::uint8_t fin = 1, syn = 2, psh = 8, ack = 16, urg = 32;
constexpr std::uint8_t own_scale = 7, client_scale = 9;

const stack::LinkAddress client_link = *stack::parse_link_address("02:00:00:00:00:0c");
const stack::LinkAddress primary_link = *stack::parse_link_address("02:00:00:00:00:01");
const stack::LinkAddress replica_link = *stack::parse_link_address("02:00:00:00:00:02");
const stack::Endpoint client = *stack::parse_endpoint("10.77.0.100:40000");
const stack::Endpoint service = *stack::parse_endpoint("10.77.0.1:7000");

// The byte that chooses the settings.
struct Choice {
    std::uint8_t bits;
    bool silent() const { return (bits & 1) != 0; }
    bool timestamps() const { return (bits & 2) == 0; }
    bool scaling() const { return (bits & 4) == 0; }
    bool sack() const { return (bits & 8) == 0; }
    bool small_buffers() const { return (bits & 16) != 0; }
    bool near_wrap() const { return (bits & 32) != 0; }
};

stack::Settings settings_for(Choice choice) {
    stack::Settings settings;
    settings.services = {service};
    settings.link_address = replica_link;
    settings.initial_mode = choice.silent() ? stack::Mode::silent : stack::Mode::master;
    settings.max_connections = 4;
    settings.unknown_grace = 1s;
    settings.announce_repeats = {};
    settings.tcp.window_scale = own_scale;
    if (choice.small_buffers()) {
        settings.tcp.receive_buffer_bytes = settings.tcp.receive_buffer_max_bytes = 8192;
        settings.tcp.send_buffer_bytes = 8192;
        settings.shadow.lag_budget_bytes = 16384;
    }
    return settings;
}

class Conversation {
  public:
    Conversation(Choice choice, Input& input) : choice_(choice), input_(input), world_(settings_for(choice)) {
        world_.follow_flow(choice.scaling() ? own_scale : std::uint8_t{0});
        client_isn_ = client_nxt_ = choice.near_wrap() ? 0xfffff000u : 1000u;
        service_isn_ = service_nxt_ = choice.near_wrap() ? 0xffffe000u : 500000u;
    }

    void run() {
        while (!input_.empty()) {
            step();
            hear();
            world_.check();
        }
        world_.resume_receive(SIZE_MAX);
        world_.pass(30min);
        world_.check();
    }

  private:
    void step();
    void client_segment(std::uint32_t seq, std::uint8_t flags, std::uint32_t ack_to, std::uint16_t window,
                        std::size_t length, std::span<const std::uint8_t> options, bool mirrored);
    void primary_segment(std::uint32_t seq, std::uint8_t flags, std::uint32_t ack_to, std::uint16_t window,
                         std::size_t length, std::span<const std::uint8_t> options, bool corrupt);
    void any_client_segment();
    void any_primary_segment();
    void client_syn();
    void primary_syn_ack();
    void icmp_error();
    void close_or_connect();
    void hear();
    std::vector<std::uint8_t> options_of(std::uint8_t flags, bool of_client, std::int8_t late);
    std::uint32_t clock_ms() const {
        return static_cast<std::uint32_t>(world_.now().time_since_epoch() / 1ms);
    }

    Choice choice_;
    Input& input_;
    fuzz::World world_;
    std::uint32_t client_isn_, client_nxt_;
    std::uint32_t service_isn_, service_nxt_;
    std::uint32_t heard_tsval_ = 0;
    std::uint16_t client_window_ = 500;
};

void append32(std::vector<std::uint8_t>& out, std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8)
        out.push_back(static_cast<std::uint8_t>(value >> shift));
}

std::vector<std::uint8_t> Conversation::options_of(std::uint8_t flags, bool of_client, std::int8_t late) {
    std::vector<std::uint8_t> options;
    if ((flags & syn) != 0) {
        options.insert(options.end(), {2, 4, 0x05, 0x78});  // 1400
        if (choice_.scaling()) options.insert(options.end(), {1, 3, 3, of_client ? client_scale : own_scale});
        if (choice_.sack()) options.insert(options.end(), {1, 1, 4, 2});
    }
    if (choice_.timestamps()) {
        options.insert(options.end(), {1, 1, 8, 10});
        append32(options, clock_ms() + (of_client ? 0 : 77777) - static_cast<std::uint32_t>(late));
        append32(options, of_client ? heard_tsval_ : clock_ms());
    }
    return options;
}

void Conversation::client_segment(std::uint32_t seq, std::uint8_t flags, std::uint32_t ack_to,
                                  std::uint16_t window, std::size_t length,
                                  std::span<const std::uint8_t> options, bool mirrored) {
    const bool on_tap = mirrored || !world_.is_master();
    fuzz::TcpFields fields{client_link,
                           on_tap ? primary_link : replica_link,
                           client,
                           service,
                           seq,
                           (flags & ack) != 0 ? ack_to : 0,
                           flags,
                           window,
                           static_cast<std::uint16_t>((flags & urg) != 0 ? length / 2 : 0)};
    const std::uint32_t first = seq + ((flags & syn) != 0 ? 1 : 0);
    std::vector<std::byte> payload(length);
    for (std::uint32_t i = 0; i < length; ++i)
        payload[i] = fuzz::client_byte(first + i);
    world_.receive(on_tap ? stack::Source::tap_from_client : stack::Source::service,
                   fuzz::build_tcp(fields, options, payload));
    const std::uint32_t end = first + static_cast<std::uint32_t>(length) + ((flags & fin) != 0 ? 1 : 0);
    if (!fuzz::is_before(client_nxt_, seq) && fuzz::is_before(client_nxt_, end)) client_nxt_ = end;
}

void Conversation::primary_segment(std::uint32_t seq, std::uint8_t flags, std::uint32_t ack_to,
                                   std::uint16_t window, std::size_t length,
                                   std::span<const std::uint8_t> options, bool corrupt) {
    const fuzz::TcpFields fields{primary_link, client_link, service, client, seq, ack_to, flags, window, 0};
    const std::uint32_t first = seq + ((flags & syn) != 0 ? 1 : 0);
    std::vector<std::byte> payload(length);
    for (std::uint32_t i = 0; i < length; ++i)
        payload[i] = fuzz::service_byte(first + i);
    if (corrupt && !payload.empty()) {
        payload[length / 2] ^= std::byte{1};
        world_.taint();
    }
    world_.receive(stack::Source::tap_from_primary, fuzz::build_tcp(fields, options, payload));
    const std::uint32_t end = first + static_cast<std::uint32_t>(length) + ((flags & fin) != 0 ? 1 : 0);
    if (!fuzz::is_before(service_nxt_, seq) && fuzz::is_before(service_nxt_, end)) service_nxt_ = end;
}

void Conversation::any_client_segment() {
    const std::uint8_t flags = input_.u8();
    const auto seq = client_nxt_ + static_cast<std::uint32_t>(input_.i16());
    const auto ack_to = service_nxt_ + static_cast<std::uint32_t>(input_.i16());
    const std::uint16_t window = input_.u16();
    const std::size_t length = input_.u16() % 1500;
    const std::uint8_t extra = input_.u8();
    auto options = options_of(flags, true, static_cast<std::int8_t>(extra & 0x0f));
    if ((extra & 0x10) != 0) {
        const std::size_t blocks = 1 + (extra >> 6) % 3;
        options.insert(options.end(), {1, 1, 5, static_cast<std::uint8_t>(2 + 8 * blocks)});
        for (std::size_t i = 0; i < 2 * blocks; ++i)
            append32(options, service_nxt_ - input_.u16());
    }
    client_segment(seq, flags, ack_to, window, length, options, (extra & 0x20) != 0);
}

void Conversation::any_primary_segment() {
    const std::uint8_t flags = input_.u8();
    const auto seq = service_nxt_ + static_cast<std::uint32_t>(input_.i16());
    const auto ack_to = client_nxt_ + static_cast<std::uint32_t>(input_.i16());
    const std::uint16_t window = input_.u16();
    const std::size_t length = input_.u16() % 1500;
    const std::uint8_t extra = input_.u8();
    primary_segment(seq, flags, ack_to, window, length,
                    options_of(flags, false, static_cast<std::int8_t>(extra & 0x0f)), (extra & 0xf0) == 0xf0);
}

void Conversation::client_syn() {
    if ((input_.u8() & 1) != 0) client_isn_ = client_nxt_ + 100000;
    client_nxt_ = client_isn_;
    client_segment(client_isn_, syn, 0, client_window_, 0, options_of(syn, true, 0), false);
}

void Conversation::primary_syn_ack() {
    if ((input_.u8() & 1) != 0) service_isn_ = service_nxt_ + 100000;
    service_nxt_ = service_isn_;
    primary_segment(service_isn_, syn | ack, client_isn_ + 1, 500, 0, options_of(syn | ack, false, 0), false);
}

// An error about a segment that was sent, or might have been (RFC 792, RFC 1191).
void Conversation::icmp_error() {
    std::vector<std::byte> message(8 + 20 + 8);
    std::byte* p = message.data();
    stack::wire::store8(p, input_.u8());
    stack::wire::store8(p + 1, input_.u8());
    stack::wire::store32(p + 4, input_.u16());
    const fuzz::TcpFields quoted{replica_link, client_link, service, client, 0, 0, 0, 0, 0};
    std::vector<std::byte> ports(8);
    stack::wire::store16(ports.data(), service.port);
    stack::wire::store16(ports.data() + 2, client.port);
    stack::wire::store32(ports.data() + 4, service_nxt_ + static_cast<std::uint32_t>(input_.i16()));
    const auto original = fuzz::build_ip(quoted, 6, ports);
    std::copy(original.begin() + 14, original.end(), message.begin() + 8);
    const fuzz::TcpFields outer{client_link, replica_link, client, service, 0, 0, 0, 0, 0};
    world_.receive(stack::Source::service, fuzz::build_ip(outer, 1, message));
}

void Conversation::close_or_connect() {
    switch (input_.u8() % 4) {
        case 0:
            return client_segment(client_nxt_, fin | ack, service_nxt_, client_window_, 0,
                                  options_of(ack, true, 0), false);
        case 1:
            return primary_segment(service_nxt_, fin | ack, client_nxt_, 500, 0, options_of(ack, false, 0),
                                   false);
        case 2:
            return world_.abort();
        default:
            return world_.connect(service, client, client_link);
    }
}

void Conversation::step() {
    switch (input_.u8() % 16) {
        case 0:
            return any_client_segment();
        case 1:
            return client_segment(client_nxt_, psh | ack, service_nxt_, client_window_, input_.u8() * 5u,
                                  options_of(ack, true, 0), false);
        case 2:
            client_window_ = input_.u16();
            return client_segment(client_nxt_, ack, service_nxt_, client_window_, 0, options_of(ack, true, 0),
                                  false);
        case 3:
            return world_.send(input_.u16() % 16384);
        case 4:
            return world_.shutdown_send();
        case 5:
            return world_.resume_receive(input_.u16());
        case 6:
            return world_.pass(input_.u8() * 3ms);
        case 7:
            return world_.pass(input_.u8() * 1s);
        case 8:
            return any_primary_segment();
        case 9:
            return primary_segment(service_nxt_, psh | ack, client_nxt_, 500, input_.u8() * 5u,
                                   options_of(ack, false, 0), false);
        case 10:
            return client_syn();
        case 11:
            return primary_syn_ack();
        case 12:
            return client_segment(client_nxt_, ack, service_nxt_, client_window_, 10,
                                  input_.take(input_.u8() % 41), false);
        case 13:
            return world_.refuse_frames(input_.u8());
        case 14:
            return icmp_error();
        default:
            // Half of it closes; the other half promotes, once.
            if ((input_.u8() & 1) != 0 && !world_.is_master()) return world_.promote();
            return close_or_connect();
    }
}

// What the client learns from the segments that reach it.
void Conversation::hear() {
    for (const fuzz::SentTcp& sent : world_.take_sent()) {
        if ((sent.flags & syn) != 0) service_isn_ = service_nxt_ = sent.seq;
        const std::uint32_t end = sent.seq + static_cast<std::uint32_t>(sent.payload.size()) +
                                  ((sent.flags & (fin | syn)) != 0 ? 1 : 0);
        if (fuzz::is_before(service_nxt_, end)) service_nxt_ = end;
        if (sent.options.size() >= 12 && std::to_integer<int>(sent.options[2]) == 8)
            heard_tsval_ = stack::wire::load32(sent.options.data() + 4);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input(data, size);
    const Choice choice{input.u8()};
    Conversation(choice, input).run();
    return 0;
}
