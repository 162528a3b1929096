// Tags, tunnels and the headers of other links: whatever they say, nothing is read beyond the frame, and each
// frame goes exactly one way.
#include "tap/decapsulate.hh"
#include <vector>

#include "fuzz/input.hh"
#include "fuzz/require.hh"
#include "tap/link_type.hh"

using namespace understudy;
using fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static tap::Decapsulator decapsulator(tap::Wrappings::all(), 1);
    fuzz::Input input(data, size);
    const int link_type = input.u8();
    const std::uint32_t cut = input.u8();
    const auto bytes = std::as_bytes(input.rest());
    const std::vector<std::byte> frame(bytes.begin(), bytes.end());
    if (const auto form = tap::as_ethernet(link_type, frame))
        require(form->payload.size() <= frame.size(), "a link header adds nothing");

    const auto ways = [](const tap::DecapsulationCounters& n) {
        return n.plain + n.opened + n.malformed + n.too_deep;
    };
    const std::uint64_t before = ways(decapsulator.counters());
    decapsulator.begin_burst();
    const auto opened = decapsulator.open({frame, static_cast<std::uint32_t>(frame.size()) + cut});
    require(ways(decapsulator.counters()) == before + 1, "a frame counts once");
    if (!opened) return 0;
    require(opened->bytes.size() <= frame.size(), "what lies within is no larger");
    require(opened->wire_length == opened->bytes.size() + cut, "what was cut is still missing");
    std::uint64_t sum = 0;
    for (const std::byte byte : opened->bytes)
        sum += std::to_integer<std::uint64_t>(byte);
    require(sum <= 255 * opened->bytes.size(), "every byte can be read");
    return 0;
}
