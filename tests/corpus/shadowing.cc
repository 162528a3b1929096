#include "tests/corpus/shadowing.hh"

#include <algorithm>
#include <utility>

#include "tests/corpus/segments.hh"

namespace understudy::corpus {
namespace {

using stack::ConnectionId;
using stack::Coverage;
using stack::Endpoint;
using stack::Instant;

// Longer than any time that a shadowed connection waits for something of the mirror.
constexpr stack::Duration patience = std::chrono::seconds(30);

class NoSink final : public stack::FrameSink {
  public:
    std::span<std::byte> reserve(std::size_t) override { return {}; }
    void commit() override {}
};

class FixedRandom final : public stack::RandomSource {
  public:
    std::uint64_t next() override { return state_ += 0x9e3779b97f4a7c15; }

  private:
    std::uint64_t state_ = 1;
};

stack::Settings settings_for(const Endpoint& service) {
    stack::Settings settings;
    settings.services = {service};
    settings.loopback_services = true;
    settings.initial_mode = stack::Mode::silent;
    settings.link_address = {{2, 0, 0, 0, 0, 2}};
    settings.shadow.accept_unfilled_checksums = true;
    settings.shadow.cover_inferred = true;
    // Captures are taken anywhere on the path: what crosses a RST does so for a round trip.
    settings.shadow.reset_grace = std::chrono::seconds(1);
    // Long enough to see who goes on behind a RST that was not its own.
    settings.shadow.closed_linger = std::chrono::minutes(1);
    settings.max_connections = 1 << 12;
    return settings;
}

tap::ClassifierSettings classifier_settings(const Endpoint& service) {
    tap::ClassifierSettings settings;
    settings.services = {{.address = service.address.octets, .port = service.port}};
    return settings;
}

std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

struct ShadowWorld::Impl final : stack::ConnectionEvents {
    explicit Impl(const Endpoint& service)
        : classifier(classifier_settings(service)), stack(settings_for(service), sink, *this, random) {}

    NoSink sink;
    FixedRandom random;
    tap::Classifier classifier;
    Instant now = Instant(std::chrono::hours(1));
    std::vector<Shadowed> records;
    std::map<ConnectionId, std::size_t> live;  // into records
    std::map<Endpoint, ConnectionId> newest;   // of each client
    std::vector<std::pair<ConnectionId, std::string>> to_write;
    stack::Stack stack;

    void accepted(ConnectionId id, const Endpoint& client, const Endpoint& service) override {
        live[id] = records.size();
        newest[client] = id;
        Shadowed& record = records.emplace_back();
        record.client = client;
        record.service = service;
        note(id);
    }
    void connected(ConnectionId) override {}
    std::size_t received(ConnectionId id, std::span<const std::byte> bytes) override {
        records[live.at(id)].to_application.append(text_of(bytes));
        return bytes.size();
    }
    void primary_sent(ConnectionId id, std::span<const std::byte> bytes) override {
        records[live.at(id)].from_primary.append(text_of(bytes));
        to_write.emplace_back(id, text_of(bytes));
    }
    void peer_closed(ConnectionId id) override { records[live.at(id)].client_ended = true; }
    void writable(ConnectionId) override {}
    void closed(ConnectionId id, stack::CloseReason reason) override {
        note(id);
        Shadowed& record = records[live.at(id)];
        if (reason == stack::CloseReason::reset_by_peer) record.client_ended = true;
        if (reason == stack::CloseReason::reset_by_primary) record.primary_ended = true;
    }

    // What the stack says now; nothing new when the connection's record is gone.
    void note(ConnectionId id) {
        const auto snapshot = stack.snapshot(id);
        if (!snapshot) return;
        Shadowed& record = records[live.at(id)];
        record.client_isn = snapshot->irs;
        record.primary_isn = snapshot->iss;
        record.coverage = snapshot->coverage;
        record.detail = snapshot->detail;
        if (snapshot->state == stack::State::time_wait) record.client_ended = record.primary_ended = true;
    }
    // A closed connection is looked after as well: the mirror may still show something of it.
    void note_client_of(const tap::Frame& frame) {
        const auto view = view_segment(frame.bytes);
        if (!view) return;
        for (const Endpoint& end : {view->source, view->destination})
            if (const auto found = newest.find(end); found != newest.end()) note(found->second);
    }

    // The application answers as the primary does.
    void write() {
        for (const auto& [id, bytes] : std::exchange(to_write, {}))
            (void)stack.send(id, std::as_bytes(std::span(bytes)), now);
    }

    void pass_to(Instant at) {
        for (auto next = stack.next_deadline(); next && *next <= at; next = stack.next_deadline()) {
            now = std::max(now, *next);
            stack.advance(now);
        }
        now = std::max(now, at);
    }
};

ShadowWorld::ShadowWorld(const Endpoint& service) : impl_(std::make_unique<Impl>(service)) {}
ShadowWorld::~ShadowWorld() = default;

void ShadowWorld::receive(const tap::Frame& frame, Instant at) {
    Impl& world = *impl_;
    world.pass_to(at);
    const tap::Classified classified = world.classifier.classify(frame);
    stack::ReceivedFrame received{stack::Source::tap_from_client, frame.bytes, frame.wire_length};
    if (classified.verdict == tap::Verdict::from_primary)
        received.source = stack::Source::tap_from_primary;
    else if (classified.verdict != tap::Verdict::from_client)
        return;
    world.stack.receive(std::span(&received, 1), world.now);
    world.write();
    world.note_client_of(frame);
}

void ShadowWorld::finish() {
    Impl& world = *impl_;
    world.pass_to(world.now + patience);
    world.stack.advance(world.now);
    for (const auto& [id, index] : world.live)
        world.note(id);
    std::uint32_t cursor = 0;
    do {
        for (const stack::ConnectionSnapshot& c : world.stack.snapshots(cursor, 1024)) {
            if (c.coverage != Coverage::half_open && c.coverage != Coverage::too_old) continue;
            Shadowed& record = world.records.emplace_back();
            record.client = c.client;
            record.service = c.service;
            record.client_isn = c.irs;
            record.primary_isn = c.iss;
            record.coverage = c.coverage;
        }
    } while (cursor != 0);
}

const std::vector<Shadowed>& ShadowWorld::connections() const {
    return impl_->records;
}

const stack::Counters& ShadowWorld::counters() const {
    return impl_->stack.counters();
}

Replay::Replay(const std::vector<Endpoint>& services) : decapsulator_(tap::Wrappings::all(), 1) {
    for (const Endpoint& service : services) {
        if (worlds_.contains(service)) continue;
        try {
            worlds_[service] = std::make_unique<ShadowWorld>(service);
        } catch (const std::invalid_argument&) {
            worlds_.erase(service);  // no host has such an address
        }
    }
}

void Replay::run(const std::vector<CapturedFrame>& frames, const ChecksumRepair& checksums) {
    std::vector<std::byte> copy;
    for (const CapturedFrame& captured : frames) {
        decapsulator_.begin_burst();
        auto frame = decapsulator_.open(as_frame(captured));
        if (!frame) continue;
        copy.assign(frame->bytes.begin(), frame->bytes.end());
        checksums.apply(copy);
        frame->bytes = copy;
        frame->handle = nullptr;
        const auto view = view_segment(copy);
        if (!view) {  // fragments, and what cannot be read, are every stack's to judge
            for (auto& [service, world] : worlds_)
                world->receive(*frame, captured.at);
            continue;
        }
        for (const Endpoint& end : {view->source, view->destination})
            if (const auto found = worlds_.find(end); found != worlds_.end())
                found->second->receive(*frame, captured.at);
    }
    for (auto& [service, world] : worlds_)
        world->finish();
}

}  // namespace understudy::corpus
