// From a frame to a TCP segment: every refusal has its counter.
#pragma once

#include <optional>

#include "stack/counters.hh"
#include "stack/settings.hh"
#include "stack/stack.hh"
#include "stack/tcp/segment.hh"
#include "stack/wire/ethernet.hh"
#include "stack/wire/ip_packet.hh"

namespace understudy::stack {

// A frame whose network header was read and checked. `payload` is trimmed to the IP length: Ethernet padding
// is not data.
struct IpPacket {
    wire::EthernetHeader link;
    wire::IpHeader header;
    wire::Bytes payload;
    wire::Bytes whole;               // from the network header on; nothing for a reassembled packet
    bool reassembled = false;        // from fragments
    bool transport_checked = false;  // ReceivedFrame::transport_checked
    std::uint8_t tap = 0;            // ReceivedFrame::tap; of a reassembled packet, its last fragment's
};

// A frame whose link-level header was read. `type` is that behind a VLAN tag, and so is `payload`.
struct LinkFrame {
    wire::EthernetHeader link;
    wire::Bytes payload;
    bool transport_checked = false;  // ReceivedFrame::transport_checked
};

// Reads the link-level header. On the service port the tag must be that of the settings.
std::optional<LinkFrame> read_link(const ReceivedFrame& frame, const Settings& settings, Counters& counters);

// Reads the network header. A frame shorter than its IP length is a cut capture and counts as lost. Of a
// fragment the payload is the piece.
std::optional<IpPacket> read_ip(const LinkFrame& frame, Source source, const ShadowSettings& settings,
                                Counters& counters);

// Reads and checks a TCP segment into `segment`, which must be fresh. `remote` and `local` are set by who
// sent it: the client is remote. False when it was refused.
bool read_tcp(const IpPacket& packet, Source source, const ShadowSettings& settings, Counters& counters,
              tcp::Segment& segment);

}  // namespace understudy::stack
