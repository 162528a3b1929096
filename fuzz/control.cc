// The control socket's byte stream: frames cut at any place, then requests and responses in them.
#include <algorithm>
#include <string>

#include "fuzz/input.hh"
#include "fuzz/require.hh"
#include "proto/connection_sync.pb.h"
#include "proto/control.pb.h"
#include "proto/framing.hh"

using namespace understudy;
using fuzz::require;

namespace {

template <typename Message>
void read_as(std::span<const std::uint8_t> bytes) {
    Message message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
    const auto frame = proto::encode_frame(message);
    require(frame.has_value() && frame->size() >= proto::frame_header_bytes, "what was read can be written");
    proto::FrameHeader header;
    std::copy_n(frame->begin(), header.size(), header.begin());
    const auto length = proto::decode_frame_length(header);
    require(length == frame->size() - header.size(), "a frame's header tells its length");
    Message again;
    require(again.ParseFromArray(frame->data() + header.size(), static_cast<int>(*length)),
            "and it can be read");
    require(again.SerializeAsString() == message.SerializeAsString(), "and says the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    while (!input.empty()) {
        proto::FrameHeader header{};
        std::ranges::copy(input.take(header.size()), header.begin());
        const auto length = proto::decode_frame_length(header);
        if (!length) break;
        require(*length <= proto::max_frame_bytes, "a frame's length is bounded");
        const auto body = input.take(*length);
        read_as<proto::v1::ControlRequest>(body);
        read_as<proto::v1::ControlResponse>(body);
        read_as<proto::v1::ConnectionSync>(body);
    }
    return 0;
}
