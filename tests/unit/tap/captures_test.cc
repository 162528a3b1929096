// The file port and the filter against captures with known answers.
#include "tests/unit/tap/captures.hh"

#include <gtest/gtest.h>

#include "tap/filter.hh"
#include "tap/open_port.hh"

namespace understudy::tap {
namespace {

// Tagged, tunnelled, or TCP behind IPv6 extension headers: what lies within is not matched.
constexpr const char* wrapped = "not (ip or arp or (ip6 and (ip6[6] = 6 or ip6[6] = 17 or ip6[6] = 58)))";

// Every frame of a capture, through each of the filters: how many each selects.
std::vector<std::size_t> count_matches(Port& port, const std::vector<Filter>& filters) {
    std::vector<std::size_t> matches(filters.size());
    std::array<Frame, 32> burst;
    while (!port.exhausted()) {
        const auto taken = std::span(burst).first(port.receive(burst));
        for (const Frame& frame : taken) {
            EXPECT_GE(frame.wire_length, frame.bytes.size());
            for (std::size_t i = 0; i < filters.size(); ++i)
                matches[i] += filters[i].matches(frame);
        }
        port.release(taken);
    }
    EXPECT_EQ(port.statistics().receive_errors, 0u);
    return matches;
}

TEST(Captures, EachConversationHasTheFramesOfTheManifest) {
    if (test::captures_folder().empty()) GTEST_SKIP() << "UNDERSTUDY_CAPTURES names no folder";
    const auto manifest = test::read_manifest();
    std::size_t exact = 0;
    for (const auto& [file, conversations] : manifest) {
        SCOPED_TRACE(file);
        std::vector<Filter> filters;
        filters.emplace_back(wrapped);
        for (const auto& conversation : conversations)
            filters.emplace_back(conversation.filter());
        const auto port = open_port("file:" + (test::captures_folder() / file).string(), {});
        const auto matches = count_matches(*port, filters);
        for (std::size_t i = 0; i < conversations.size(); ++i) {
            EXPECT_LE(matches[i + 1], conversations[i].frames) << conversations[i].filter();
            if (matches[0] != 0) continue;
            EXPECT_EQ(matches[i + 1], conversations[i].frames) << conversations[i].filter();
            ++exact;
        }
    }
    EXPECT_GT(exact, 0u);
}

}  // namespace
}  // namespace understudy::tap
