// Messages on a byte stream: a 4-byte length in network order, then the serialized message.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <google/protobuf/message_lite.h>

namespace understudy::proto {

inline constexpr std::size_t frame_header_bytes = 4;
// Longest message. A page of 1000 connections needs less than a tenth of it.
inline constexpr std::size_t max_frame_bytes = 4 << 20;

using FrameHeader = std::array<std::uint8_t, frame_header_bytes>;

// Length and message, ready to be written; nothing when the message is longer than max_frame_bytes.
std::optional<std::string> encode_frame(const google::protobuf::MessageLite& message);

// The length that a header announces; nothing when it is above max_frame_bytes: the stream cannot be followed
// any further.
std::optional<std::size_t> decode_frame_length(const FrameHeader& header);

}  // namespace understudy::proto
