// Capture files of other links than Ethernet: their packets, with an Ethernet header before them.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace understudy::tap {

// An Ethernet header and what follows it. Link-level addresses that the link does not have are zero.
struct EthernetForm {
    std::array<std::byte, 14> header{};
    std::span<const std::byte> payload;
};

// Whether captures with this DLT_ number of libpcap can be read.
bool is_readable_link_type(int link_type);
// The link types that can be read, in one line, for messages.
std::string_view readable_link_types();

// Reads the link-level header at the start of `frame`; `link_type` is a DLT_ number. Nothing for a frame
// that carries no IP or Ethernet in a form that is known (management frames, encrypted ones), or is cut
// within the header.
std::optional<EthernetForm> as_ethernet(int link_type, std::span<const std::byte> frame);

}  // namespace understudy::tap
