// A look at the TCP segment in a frame, independent of what the stack makes of it.
#pragma once

#include <optional>
#include <span>

#include "stack/address.hh"
#include "stack/wire/tcp.hh"

namespace understudy::corpus {

struct SegmentView {
    stack::Endpoint source;
    stack::Endpoint destination;
    stack::wire::TcpHeader header;
    std::span<const std::byte> payload;
};

// Nothing for a frame that holds no whole TCP segment. Checksums are not looked at.
std::optional<SegmentView> view_segment(std::span<const std::byte> frame);

}  // namespace understudy::corpus
