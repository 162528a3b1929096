#include "tools/rehearse/rehearsal.hh"

#include <algorithm>
#include <array>
#include <set>
#include <stdexcept>
#include <utility>

#include "shadow_app/registry.hh"
#include "stack/wire/ip_packet.hh"
#include "stack/wire/tcp.hh"
#include "stack/wire/udp.hh"
#include "tap/open_port.hh"

namespace understudy::rehearse {
namespace {

using stack::ConnectionId;
using stack::Coverage;
using stack::Endpoint;

// Longer than any time that a shadowed connection waits for something of the mirror.
constexpr Duration patience = std::chrono::seconds(30);
// Connections of which no event tells are looked at so often.
constexpr Duration sweep_interval = std::chrono::seconds(1);
constexpr std::size_t frames_per_read = 32;
// Far from zero, where nothing has happened yet.
constexpr Instant first_frame_at = Instant(std::chrono::hours(1));

class NativePerformer final : public Performer {
  public:
    explicit NativePerformer(const std::string& name)
        : application_(shadow_app::make_application(name)),
          datagrams_(shadow_app::make_datagram_application(name)) {
        if (!application_ && !datagrams_)
            throw std::invalid_argument(
                "--app " + name + ": no such application; there are: " + shadow_app::application_names() +
                ", " + shadow_app::datagram_application_names());
    }
    void serve(shadow_app::StackHost& host, const Endpoint& service) override {
        if (application_) host.serve(service, *application_);
        if (datagrams_) host.serve_datagrams(service, *datagrams_);
    }

  private:
    std::unique_ptr<shadow_app::Application> application_;
    std::unique_ptr<shadow_app::DatagramApplication> datagrams_;
};

class KeepingSink final : public stack::FrameSink {
  public:
    std::span<std::byte> reserve(std::size_t length) override {
        reserved_.assign(length, std::byte{});
        return reserved_;
    }
    void commit() override { frames.push_back(std::move(reserved_)); }

    std::vector<std::vector<std::byte>> frames;

  private:
    std::vector<std::byte> reserved_;
};

// A rehearsal repeats itself: the stack's secrets are no secrets here.
class FixedRandom final : public stack::RandomSource {
  public:
    std::uint64_t next() override { return state_ += 0x9e3779b97f4a7c15; }

  private:
    std::uint64_t state_ = 1;
};

stack::Settings stack_settings(const Settings& settings) {
    stack::Settings result;
    (settings.over_datagrams ? result.udp_services : result.services) = {settings.service};
    result.replication[settings.service] = settings.replication;
    result.loopback_services = true;
    result.link_address = {{2, 0, 0, 0, 0, 2}};
    result.shadow = settings.shadow;
    return result;
}

tap::ClassifierSettings classifier_settings(const Settings& settings) {
    tap::ClassifierSettings result;
    if (settings.primary_link) result.primary_link = settings.primary_link->octets;
    result.services = {{.address = settings.service.address.octets,
                        .port = settings.service.port,
                        .transport = settings.over_datagrams ? tap::Transport::udp : tap::Transport::tcp}};
    return result;
}

std::string flags_text(stack::wire::TcpFlags flags) {
    using F = stack::wire::TcpFlags;
    std::string text;
    for (const auto& [bit, name] :
         {std::pair{F::syn, "SYN"}, {F::fin, "FIN"}, {F::rst, "RST"}, {F::ack, "ACK"}})
        if (flags.has(bit)) text.append(text.empty() ? "" : ",").append(name);
    return text;
}

// What one of our own frames is.
SentFrame describe(std::span<const std::byte> frame) {
    namespace wire = stack::wire;
    SentFrame sent;
    sent.kind = "other";
    const auto link = wire::parse_ethernet(frame);
    if (!link) return sent;
    if (link->type == wire::EtherType::arp) sent.kind = "ARP";
    const auto packet = frame.subspan(wire::ethernet_header_length);
    wire::IpHeader ip;
    const bool is_ip =
        (link->type == wire::EtherType::ipv4 && wire::parse_ipv4(packet, ip) == wire::IpError::none) ||
        (link->type == wire::EtherType::ipv6 && wire::parse_ipv6(packet, ip) == wire::IpError::none);
    if (!is_ip) return sent;
    const auto segment = packet.first(ip.total_length).subspan(ip.header_length);
    if (ip.protocol == wire::IpProtocol::udp && segment.size() >= wire::udp_header_length) {
        sent.kind = "UDP";
        sent.client = {ip.destination, wire::load16(segment.data() + 2)};
        sent.payload_bytes = static_cast<std::uint32_t>(segment.size() - wire::udp_header_length);
        return sent;
    }
    wire::TcpHeader tcp;
    if (ip.protocol != wire::IpProtocol::tcp || !wire::parse_tcp(segment, tcp)) return sent;
    sent.kind = flags_text(tcp.flags);
    sent.client = {ip.destination, tcp.destination_port};
    sent.payload_bytes = static_cast<std::uint32_t>(segment.size() - tcp.header_length);
    sent.offset = tcp.seq.raw();  // of the sequence space as yet
    return sent;
}

// One play: hears what the stack tells the host, and takes note.
class Stage final : stack::ConnectionEvents {
  public:
    Stage(const Settings& settings, Performer& performer)
        : classifier_(classifier_settings(settings)), decapsulator_(settings.wrappings, 1) {
        performer.serve(host_, settings.service);
        stack_.emplace(stack_settings(settings), sink_, static_cast<stack::ConnectionEvents&>(*this),
                       random_);
        host_.attach(*stack_);
    }

    void receive(const tap::Frame& captured, Instant at) {
        pass_to(at);
        ++report_.frames;
        decapsulator_.begin_burst();
        const auto frame = decapsulator_.open(captured);
        if (!frame) return;
        const tap::Classified classified = classifier_.classify(*frame);
        stack::ReceivedFrame received{stack::Source::tap_from_client, frame->bytes, frame->wire_length};
        if (classified.verdict == tap::Verdict::from_primary)
            received.source = stack::Source::tap_from_primary;
        else if (classified.verdict != tap::Verdict::from_client)
            return;
        ++report_.service_frames;
        host_.receive(std::span(&received, 1), now_);
        note_touched();
    }

    void pass_to(Instant at) {
        for (auto next = host_.next_deadline(); next && *next <= at; next = host_.next_deadline()) {
            now_ = std::max(now_, *next);
            host_.advance(now_);
            note_touched();
        }
        now_ = std::max(now_, at);
        if (now_ < next_sweep_) return;
        next_sweep_ = now_ + sweep_interval;
        sweep();
    }

    void take_over(Duration how_long) {
        TakeoverReport takeover;
        takeover.at = now_ - first_frame_at;
        std::map<Endpoint, stack::Seq> streams;
        for_each_snapshot([&](const stack::ConnectionSnapshot& c) {
            ++takeover.connections;
            takeover.covered += c.coverage == Coverage::covered ? 1 : 0;
            streams[c.client] = stack::Seq(c.iss) + 1;
        });
        const Instant began = now_;
        takeover.promoted = host_.promote(now_);
        collect(takeover, began, streams);
        while (const auto next = host_.next_deadline()) {
            if (*next > began + how_long) break;
            now_ = std::max(now_, *next);
            host_.advance(now_);
            collect(takeover, began, streams);
        }
        report_.takeover = std::move(takeover);
    }

    // What waits for its grace time is decided. Instants count from the first frame to the last.
    PlayReport finish(Instant last_frame_at, bool after_grace) {
        if (after_grace) pass_to(now_ + patience);
        sweep();
        report_.length = last_frame_at - first_frame_at;
        for (ConnectionReport& c : report_.connections) {
            c.began = std::min(c.began, report_.length);
            c.ended = std::min(c.ended, report_.length);
        }
        report_.datagram_services = stack_->datagram_services();
        report_.counters = stack_->counters();
        return std::move(report_);
    }

    Instant now() const { return now_; }
    const PlayReport& so_far() const { return report_; }

  private:
    void accepted(ConnectionId id, const Endpoint& client, const Endpoint& service) override {
        touched_.insert(id);
        host_.accepted(id, client, service);
    }
    void connected(ConnectionId id) override { host_.connected(id); }
    std::size_t received(ConnectionId id, std::span<const std::byte> bytes) override {
        touched_.insert(id);
        return host_.received(id, bytes);
    }
    void peer_closed(ConnectionId id) override {
        touched_.insert(id);
        host_.peer_closed(id);
    }
    void writable(ConnectionId id) override {
        touched_.insert(id);
        host_.writable(id);
    }
    void closed(ConnectionId id, stack::CloseReason reason) override {
        if (ConnectionReport* const report = note(id)) report->closed = reason;
        host_.closed(id, reason);
    }
    void datagram(const Endpoint& service, const Endpoint& client,
                  std::span<const std::byte> bytes) override {
        host_.datagram(service, client, bytes);
    }
    void primary_sent(ConnectionId id, std::span<const std::byte>) override { touched_.insert(id); }

    void note_touched() {
        for (const ConnectionId id : std::exchange(touched_, {}))
            (void)note(id);
    }
    ConnectionReport* note(ConnectionId id) {
        const auto snapshot = stack_->snapshot(id);
        return snapshot ? &note(*snapshot) : nullptr;
    }
    ConnectionReport& note(const stack::ConnectionSnapshot& snapshot) {
        const Duration at = now_ - first_frame_at;
        const auto [found, is_new] = live_.try_emplace(snapshot.id, Live{report_.connections.size(), {}});
        if (is_new) {
            report_.connections.emplace_back().last = snapshot;
            report_.connections.back().began = at;
        }
        Live& live = found->second;
        ConnectionReport& report = report_.connections[live.index];
        const bool turned = report.turns.empty() || report.last.coverage != snapshot.coverage;
        if (turned && report.turns.size() < ConnectionReport::most_turns)
            report.turns.push_back({at, snapshot.coverage});
        if (is_new || snapshot.bytes_received != report.last.bytes_received ||
            snapshot.snd_nxt != report.last.snd_nxt || snapshot.snd_una != report.last.snd_una)
            report.ended = at;
        report.last = snapshot;
        const std::uint64_t lag = lag_bytes(snapshot);
        report.largest_lag_bytes = std::max(report.largest_lag_bytes, lag);
        if (lag == 0) live.behind_since.reset();
        if (lag != 0 && !live.behind_since) live.behind_since = now_;
        if (live.behind_since) report.longest_lag = std::max(report.longest_lag, now_ - *live.behind_since);
        return report;
    }

    template <typename Visit>
    void for_each_snapshot(Visit visit) {
        std::uint32_t cursor = 0;
        do {
            for (const stack::ConnectionSnapshot& c : stack_->snapshots(cursor, 1024))
                visit(c);
        } while (cursor != 0);
    }
    void sweep() {
        for_each_snapshot([this](const stack::ConnectionSnapshot& c) { (void)note(c); });
    }

    void collect(TakeoverReport& takeover, Instant began, const std::map<Endpoint, stack::Seq>& streams) {
        for (const auto& frame : std::exchange(sink_.frames, {})) {
            SentFrame sent = describe(frame);
            sent.after = now_ - began;
            const auto stream = streams.find(sent.client);
            if (sent.payload_bytes == 0 || stream == streams.end())
                sent.offset.reset();
            else if (sent.offset)
                sent.offset = distance(stream->second, stack::Seq(static_cast<std::uint32_t>(*sent.offset)));
            takeover.frames.push_back(std::move(sent));
        }
    }

    struct Live {
        std::size_t index;  // into report_.connections
        std::optional<Instant> behind_since;
    };

    KeepingSink sink_;
    FixedRandom random_;
    tap::Classifier classifier_;
    tap::Decapsulator decapsulator_;
    shadow_app::StackHost host_;
    std::optional<stack::Stack> stack_;
    Instant now_ = first_frame_at;
    Instant next_sweep_ = first_frame_at;
    std::set<ConnectionId> touched_;
    std::map<ConnectionId, Live> live_;
    PlayReport report_;
};

// The capture's clock, which may step back; ours does not.
class CaptureClock {
  public:
    Instant read(const tap::Frame& frame) {
        if (before_ns_ != 0 && frame.timestamp_ns > before_ns_)
            now_ += Duration(frame.timestamp_ns - before_ns_);
        before_ns_ = frame.timestamp_ns;
        return now_;
    }
    Instant now() const { return now_; }

  private:
    Instant now_ = first_frame_at;
    std::uint64_t before_ns_ = 0;
};

}  // namespace

std::size_t PlayReport::judged() const {
    return static_cast<std::size_t>(
        std::count_if(connections.begin(), connections.end(), [](const ConnectionReport& c) {
            return c.last.coverage != Coverage::too_old && c.last.coverage != Coverage::half_open;
        }));
}

std::size_t PlayReport::covered() const {
    return static_cast<std::size_t>(
        std::count_if(connections.begin(), connections.end(), [](const ConnectionReport& c) {
            return c.last.coverage == Coverage::covered && lag_bytes(c.last) == 0;
        }));
}

std::unique_ptr<Performer> make_native_performer(const std::string& application) {
    return std::make_unique<NativePerformer>(application);
}

PlayReport play(const Settings& settings, const PerformerFactory& make_performer,
                const PlayOptions& options) {
    const auto port = tap::open_port("file:" + settings.capture.string(), {});
    const auto performer = make_performer();
    Stage stage(settings, *performer);
    CaptureClock clock;
    const Instant takeover_at = options.takeover_at ? first_frame_at + *options.takeover_at : Instant::max();
    bool taken_over = false;
    std::array<tap::Frame, frames_per_read> burst;
    while (!port->exhausted() && !taken_over) {
        const auto frames = std::span(burst).first(port->receive(burst));
        for (const tap::Frame& frame : frames) {
            const Instant at = clock.read(frame);
            taken_over = at > takeover_at;
            if (taken_over) break;
            if (options.pace) options.pace(at - first_frame_at);
            stage.receive(frame, at);
        }
        port->release(frames);
        if (options.progress) options.progress(stage.so_far().frames, clock.now() - first_frame_at);
    }
    if (options.takeover_at) {
        stage.pass_to(takeover_at);
        stage.take_over(options.takeover_for);
    }
    PlayReport report = stage.finish(clock.now(), !options.takeover_at);
    report.unreadable_frames = port->statistics().receive_errors;
    return report;
}

}  // namespace understudy::rehearse
