#include "proto/framing.hh"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "proto/control.pb.h"

namespace understudy::proto {
namespace {

FrameHeader header_of(const std::string& frame) {
    FrameHeader header{};
    std::copy_n(frame.begin(), header.size(), header.begin());
    return header;
}

TEST(Framing, RoundTrip) {
    v1::ControlRequest request;
    request.set_id(7);
    request.mutable_promote()->set_force(true);
    const auto frame = encode_frame(request);
    ASSERT_TRUE(frame);
    EXPECT_EQ(decode_frame_length(header_of(*frame)), frame->size() - frame_header_bytes);
    v1::ControlRequest parsed;
    ASSERT_TRUE(parsed.ParseFromString(frame->substr(frame_header_bytes)));
    EXPECT_EQ(parsed.id(), 7u);
    EXPECT_TRUE(parsed.promote().force());
}

TEST(Framing, LengthIsInNetworkOrder) {
    EXPECT_EQ(decode_frame_length({0, 0, 1, 2}), 258u);
    v1::Event event;
    event.set_fields_json(std::string(300, 'x'));
    const auto frame = encode_frame(event);
    ASSERT_TRUE(frame);
    EXPECT_EQ(header_of(*frame), (FrameHeader{0, 0, 1, 303 - 256}));
}

TEST(Framing, EmptyMessageHasAFrame) {
    const auto frame = encode_frame(v1::StatusRequest{});
    ASSERT_TRUE(frame);
    EXPECT_EQ(*frame, std::string(4, '\0'));
}

TEST(Framing, BoundHoldsInBothDirections) {
    EXPECT_EQ(decode_frame_length({0, 0x40, 0, 0}), max_frame_bytes);
    EXPECT_EQ(decode_frame_length({0, 0x40, 0, 1}), std::nullopt);
    EXPECT_EQ(decode_frame_length({0xff, 0xff, 0xff, 0xff}), std::nullopt);
    v1::Event event;
    event.set_fields_json(std::string(max_frame_bytes, 'x'));
    EXPECT_EQ(encode_frame(event), std::nullopt);
}

}  // namespace
}  // namespace understudy::proto
