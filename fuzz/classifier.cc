// Mirrored frames before the stack: every one goes exactly one way, and service traffic is what it claims to
// be.
#include <cstring>

#include "fuzz/input.hh"
#include "fuzz/packet.hh"
#include "fuzz/require.hh"
#include "tap/classifier.hh"

using namespace understudy;
using fuzz::require;

namespace {

constexpr std::array<std::uint8_t, 6> primary_link = {0x02, 0, 0, 0, 0, 0x01};

tap::ServiceEndpoint service() {
    tap::ServiceEndpoint endpoint{.port = 7000};
    const std::array<std::uint8_t, 6> mapped = {0xff, 0xff, 10, 77, 0, 1};
    std::copy(mapped.begin(), mapped.end(), endpoint.address.begin() + 10);
    return endpoint;
}

std::uint64_t ways_taken(const tap::ClassifierCounters& counters) {
    std::uint64_t total = 0;
    for (const tap::CounterInfo& info : tap::classifier_counter_table())
        total += counters.*info.value;
    return total - counters.signs_of_life;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static tap::Classifier classifier(
        {.primary_link = primary_link, .services = {service()}, .extra_filter = {}});
    fuzz::Input input(data, size);
    const std::uint8_t how = input.u8();
    const auto bytes = std::as_bytes(input.rest());
    std::vector<std::byte> frame(bytes.begin(), bytes.end());
    if ((how & 1) != 0) fuzz::correct(frame);
    const std::uint64_t before = ways_taken(classifier.counters());
    const std::uint32_t wire_length = static_cast<std::uint32_t>(frame.size()) + (how & 2) * 100u;
    const tap::Classified result = classifier.classify({.bytes = frame, .wire_length = wire_length});
    require(ways_taken(classifier.counters()) == before + 1, "a frame counts once");
    const bool from_primary_link =
        frame.size() >= 14 && std::memcmp(frame.data() + 6, primary_link.data(), primary_link.size()) == 0;
    require(result.sign_of_life == from_primary_link, "a sign of life is a frame of the primary");
    require(result.verdict != tap::Verdict::from_primary || from_primary_link,
            "the primary is known by its link");
    require(result.verdict != tap::Verdict::from_client || !from_primary_link, "a client is not the primary");
    return 0;
}
