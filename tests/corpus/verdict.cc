#include "tests/corpus/verdict.hh"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <functional>

#include "tests/corpus/segments.hh"

namespace understudy::corpus {
namespace {

using stack::Coverage;
using stack::Endpoint;
using stack::Seq;
using stack::wire::TcpFlags;

std::string sha256(std::string_view text) {
    std::array<unsigned char, crypto_hash_sha256_BYTES> hash{};
    crypto_hash_sha256(hash.data(), reinterpret_cast<const unsigned char*>(text.data()), text.size());
    std::array<char, 2 * crypto_hash_sha256_BYTES + 1> hex{};
    sodium_bin2hex(hex.data(), hex.size(), hash.data(), hash.size());
    return hex.data();
}

bool is_equal(std::string_view stream, const Answer& answer) {
    return stream.size() == answer.bytes && (answer.sha256.empty() || sha256(stream) == answer.sha256);
}

// FNV-1a: the same in every run.
std::uint64_t hash_of(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char c : text)
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return hash;
}

// Calls `look` with every TCP segment of a capture, tags and tunnels taken off.
void each_segment(const std::vector<CapturedFrame>& frames,
                  const std::function<void(const SegmentView&)>& look) {
    tap::Decapsulator decapsulator(tap::Wrappings::all(), 1);
    for (const CapturedFrame& captured : frames) {
        decapsulator.begin_burst();
        const auto frame = decapsulator.open(as_frame(captured));
        if (!frame) continue;
        if (const auto view = view_segment(frame->bytes)) look(*view);
    }
}

// The bytes of one direction that whole segments brought, first copy first.
class Reconstruction {
  public:
    Reconstruction(std::uint32_t isn, std::uint64_t length)
        : first_(isn + 1), bytes_(length, 0), shown_(length) {}

    void add(const SegmentView& segment) {
        std::uint64_t at =
            (segment.header.seq.raw() + (segment.header.flags.has(TcpFlags::syn) ? 1u : 0u)) - first_;
        at = static_cast<std::uint32_t>(at);
        for (const std::byte byte : segment.payload) {
            // Streams longer than the sequence space are not judged by this.
            if (at < shown_.size() && !shown_[at]) {
                shown_[at] = true;
                bytes_[at] = static_cast<char>(byte);
                ++count_;
            }
            at = static_cast<std::uint32_t>(at + 1);
        }
    }
    bool is_complete() const { return count_ == shown_.size(); }
    const std::string& bytes() const { return bytes_; }

  private:
    std::uint32_t first_;
    std::string bytes_;
    std::vector<bool> shown_;
    std::size_t count_ = 0;
};

// What the stack says by itself.
std::optional<std::string> why_uncovered(const Shadowed* shadowed) {
    if (shadowed == nullptr) return "not_seen";
    if (shadowed->coverage == Coverage::covered || shadowed->coverage == Coverage::inferred)
        return std::nullopt;
    return stack::to_string(shadowed->coverage);
}

}  // namespace

CaptureJudge::CaptureJudge(const std::filesystem::path& root, std::vector<const Conversation*> conversations)
    : conversations_(std::move(conversations)),
      services_(conversations_.size()),
      frames_(read_capture(root / conversations_.front()->file)),
      salt_(hash_of(conversations_.front()->file)),
      known_(conversations_.size()) {
    tap::Decapsulator decapsulator(tap::Wrappings::all(), 1);
    for (const CapturedFrame& captured : frames_) {
        decapsulator.begin_burst();
        if (const auto frame = decapsulator.open(as_frame(captured))) checksums_.learn(frame->bytes);
    }
    checksums_.settle();
    each_segment(frames_, [&](const SegmentView& segment) {
        if (!segment.header.flags.has(TcpFlags::syn) || segment.header.flags.has(TcpFlags::ack)) return;
        for (std::size_t i = 0; i < conversations_.size(); ++i) {
            const Conversation& c = *conversations_[i];
            if (segment.source == c.client && segment.destination.port == c.server_port &&
                segment.header.seq.raw() == c.client_isn)
                services_[i] = segment.destination;
        }
    });
    const std::vector<Streams> streams = reconstruct(frames_);
    for (std::size_t i = 0; i < conversations_.size(); ++i)
        if (is_equal(streams[i].client_to_server, conversations_[i]->client_to_server) &&
            is_equal(streams[i].server_to_client, conversations_[i]->server_to_client))
            known_[i] = streams[i];
}

std::vector<CaptureJudge::Streams> CaptureJudge::reconstruct(const std::vector<CapturedFrame>& frames) const {
    struct Both {
        Reconstruction client, server;
    };
    std::vector<Both> both;
    for (const Conversation* c : conversations_)
        both.push_back(
            {{c->client_isn, c->client_to_server.bytes}, {c->server_isn, c->server_to_client.bytes}});
    each_segment(frames, [&](const SegmentView& segment) {
        for (std::size_t i = 0; i < both.size(); ++i) {
            if (!services_[i]) continue;
            const Endpoint& client = conversations_[i]->client;
            if (segment.source == client && segment.destination == *services_[i])
                both[i].client.add(segment);
            else if (segment.source == *services_[i] && segment.destination == client)
                both[i].server.add(segment);
        }
    });
    std::vector<Streams> streams;
    for (const Both& one : both)
        streams.push_back(
            {one.client.bytes(), one.server.bytes(), one.client.is_complete() && one.server.is_complete()});
    return streams;
}

const Shadowed* CaptureJudge::find(const Replay& replay, std::size_t conversation) const {
    if (!services_[conversation]) return nullptr;
    const Conversation& c = *conversations_[conversation];
    const ShadowWorld* world = replay.world(*services_[conversation]);
    if (world == nullptr) return nullptr;
    const Shadowed* best = nullptr;
    for (const Shadowed& shadowed : world->connections()) {
        if (shadowed.client != c.client) continue;
        const bool is_it = shadowed.client_isn == c.client_isn && shadowed.primary_isn == c.server_isn;
        // Without a handshake only the ports say which it is.
        const bool may_be =
            shadowed.coverage == Coverage::too_old || shadowed.coverage == Coverage::half_open;
        if (is_it) return &shadowed;
        if (may_be) best = &shadowed;
    }
    return best;
}

Judged CaptureJudge::compare(std::size_t conversation, const Shadowed* shadowed) const {
    const Conversation& c = *conversations_[conversation];
    Judged judged;
    judged.conversation = &c;
    if (const auto reason = why_uncovered(shadowed)) {
        judged.reason = *reason;
        return judged;
    }
    const bool client = is_equal(shadowed->to_application, c.client_to_server);
    const bool server = is_equal(shadowed->from_primary, c.server_to_client);
    if (client && server) {
        judged.verdict = Verdict::identical;
        return judged;
    }
    if (known_[conversation]) {
        const Streams& known = *known_[conversation];
        const bool may_go_on =
            (client ||
             (!shadowed->client_ended && known.client_to_server.starts_with(shadowed->to_application))) &&
            (server ||
             (!shadowed->primary_ended && known.server_to_client.starts_with(shadowed->from_primary)));
        if (may_go_on) {
            judged.reason = "incomplete";
            return judged;
        }
    }
    judged.verdict = Verdict::different;
    judged.reason = client ? "server_to_client" : server ? "client_to_server" : "both directions";
    return judged;
}

std::vector<Judged> CaptureJudge::judge(const Mutation& mutation) const {
    const std::vector<CapturedFrame> frames = mutate(frames_, mutation, salt_);
    std::vector<Endpoint> services;
    for (const auto& service : services_)
        if (service) services.push_back(*service);
    Replay replay(services);
    replay.run(frames, checksums_);
    const std::vector<Streams> shown = reconstruct(frames);
    std::vector<Judged> all;
    for (std::size_t i = 0; i < conversations_.size(); ++i) {
        Judged judged = compare(i, find(replay, i));
        judged.all_bytes_shown = shown[i].is_complete;
        all.push_back(std::move(judged));
    }
    return all;
}

}  // namespace understudy::corpus
