#include "tests/corpus/capture.hh"

#include <algorithm>
#include <array>
#include <random>

#include "tap/open_port.hh"

namespace understudy::corpus {
namespace {

using stack::Instant;

constexpr std::size_t burst = 32;

// Reproducible everywhere, as the distributions of <random> are not.
class Chance {
  public:
    explicit Chance(std::uint64_t seed) : engine_(seed) {}
    bool happens(double probability) {
        constexpr double scale = 1.0 / 9007199254740992.0;  // 2^-53
        return static_cast<double>(engine_() >> 11) * scale < probability;
    }
    std::uint64_t below(std::uint64_t limit) { return limit == 0 ? 0 : engine_() % limit; }

  private:
    std::mt19937_64 engine_;
};

}  // namespace

std::vector<CapturedFrame> read_capture(const std::filesystem::path& path) {
    const auto port = tap::open_port("file:" + path.string(), {});
    std::vector<CapturedFrame> frames;
    std::array<tap::Frame, burst> taken;
    Instant newest = Instant(std::chrono::hours(1));  // far from zero, where nothing has happened yet
    std::uint64_t before_ns = 0;
    while (!port->exhausted()) {
        const std::size_t count = port->receive(taken);
        for (const tap::Frame& frame : std::span(taken).first(count)) {
            if (before_ns != 0 && frame.timestamp_ns > before_ns)
                newest += stack::Duration(frame.timestamp_ns - before_ns);
            before_ns = frame.timestamp_ns;
            frames.push_back({{frame.bytes.begin(), frame.bytes.end()}, frame.wire_length, newest});
        }
        port->release(std::span(taken).first(count));
    }
    return frames;
}

std::vector<CapturedFrame> mutate(const std::vector<CapturedFrame>& frames, const Mutation& mutation,
                                  std::uint64_t salt) {
    if (mutation.is_none()) return frames;
    Chance chance(mutation.seed * 0x9e3779b97f4a7c15 + salt);
    std::vector<CapturedFrame> result;
    result.reserve(frames.size());
    const auto lag = [&] { return stack::Duration(chance.below(most_lag.count())); };
    for (std::size_t i = 0; i < frames.size(); ++i) {
        if (chance.happens(mutation.loss)) continue;
        CapturedFrame frame = frames[i];
        if (chance.happens(mutation.truncate) && frame.bytes.size() > 1)
            frame.bytes.resize(1 + chance.below(frame.bytes.size() - 1));
        if (chance.happens(mutation.duplicate)) {
            CapturedFrame copy = frame;
            copy.at += lag();
            result.push_back(std::move(copy));
        }
        if (chance.happens(mutation.reorder)) {
            // By time, or behind the next frame however late that comes.
            if (chance.happens(0.5) || i + 1 == frames.size())
                frame.at += lag();
            else
                frame.at = frames[i + 1].at + stack::Duration(1);
        }
        result.push_back(std::move(frame));
    }
    std::stable_sort(result.begin(), result.end(),
                     [](const CapturedFrame& a, const CapturedFrame& b) { return a.at < b.at; });
    return result;
}

}  // namespace understudy::corpus
