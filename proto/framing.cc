#include "proto/framing.hh"

namespace understudy::proto {

std::optional<std::string> encode_frame(const google::protobuf::MessageLite& message) {
    const std::size_t length = message.ByteSizeLong();
    if (length > max_frame_bytes) return std::nullopt;
    std::string frame;
    frame.reserve(frame_header_bytes + length);
    for (std::size_t i = 0; i < frame_header_bytes; ++i)
        frame.push_back(static_cast<char>(length >> (8 * (frame_header_bytes - 1 - i)) & 0xff));
    if (!message.AppendToString(&frame)) return std::nullopt;
    return frame;
}

std::optional<std::size_t> decode_frame_length(const FrameHeader& header) {
    std::size_t length = 0;
    for (const std::uint8_t octet : header)
        length = length << 8 | octet;
    if (length > max_frame_bytes) return std::nullopt;
    return length;
}

}  // namespace understudy::proto
