#include "tap/classifier.hh"

#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace understudy::tap {
namespace {

constexpr std::uint16_t ethertype_service_vlan = 0x88a8;  // IEEE 802.1ad; <net/ethernet.h> lacks it
constexpr std::size_t min_ip_header = 20;
constexpr std::size_t ports_length = 4;
constexpr std::size_t mapped_v4_offset = 12;
constexpr int max_extension_headers = 8;
constexpr std::size_t extension_unit = 8;

using Member = std::uint64_t ClassifierCounters::*;

constexpr std::array counter_table = {
    CounterInfo{"from_client", "service frames from a client to the primary",
                &ClassifierCounters::from_client},
    CounterInfo{"from_primary", "service frames from the primary to a client",
                &ClassifierCounters::from_primary},
    CounterInfo{"signs_of_life", "frames of any kind that the primary's link-level address sent",
                &ClassifierCounters::signs_of_life},
    CounterInfo{"not_selected", "TCP and UDP that is not of a service, or that the filter does not select",
                &ClassifierCounters::not_selected},
    CounterInfo{"arp", "ARP frames, set apart", &ClassifierCounters::arp},
    CounterInfo{"vlan", "VLAN-tagged frames, set apart", &ClassifierCounters::vlan},
    CounterInfo{"other_ethertype", "frames of other ethertypes, set apart",
                &ClassifierCounters::other_ethertype},
    CounterInfo{"icmp", "ICMP and ICMPv6 packets; the stack is given those of a service's address",
                &ClassifierCounters::icmp},
    CounterInfo{"fragment", "IP fragments; the stack is given those of a service's address",
                &ClassifierCounters::fragment},
    CounterInfo{"other_protocol", "IP packets that are neither TCP, UDP nor ICMP, set apart",
                &ClassifierCounters::other_protocol},
    CounterInfo{"runt", "frames shorter than an Ethernet header", &ClassifierCounters::runt},
    CounterInfo{"malformed", "IP headers that are broken or cut before the ports",
                &ClassifierCounters::malformed},
    CounterInfo{"foreign_source",
                "refused: a service's address and port, but not the primary's link-level address",
                &ClassifierCounters::foreign_source},
    CounterInfo{"primary_to_itself", "refused: for a service, and from the primary's own link-level address",
                &ClassifierCounters::primary_to_itself},
    CounterInfo{"group_destination", "refused: service traffic to a group link-level address",
                &ClassifierCounters::group_destination},
};
static_assert(counter_table.size() * sizeof(std::uint64_t) == sizeof(ClassifierCounters));

template <typename Header>
std::optional<Header> read_header(std::span<const std::byte> bytes) {
    if (bytes.size() < sizeof(Header)) return std::nullopt;
    Header header;
    std::memcpy(&header, bytes.data(), sizeof header);
    return header;
}

ServiceEndpoint mapped_endpoint(std::uint32_t network_order_v4) {
    ServiceEndpoint endpoint;
    endpoint.address[10] = 0xff;
    endpoint.address[11] = 0xff;
    std::memcpy(&endpoint.address[mapped_v4_offset], &network_order_v4, sizeof network_order_v4);
    return endpoint;
}

ServiceEndpoint native_endpoint(const in6_addr& address) {
    ServiceEndpoint endpoint;
    std::memcpy(endpoint.address.data(), &address, sizeof address);
    return endpoint;
}

std::uint16_t read_u16(std::span<const std::byte> bytes) {
    return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[0]) << 8 |
                                      std::to_integer<unsigned>(bytes[1]));
}

bool is_extension(std::uint8_t header) {
    return header == IPPROTO_HOPOPTS || header == IPPROTO_ROUTING || header == IPPROTO_FRAGMENT ||
           header == IPPROTO_DSTOPTS;
}

std::string whole_expression(const ClassifierSettings& settings) {
    const std::string services = service_expression(settings.services);
    if (settings.extra_filter.empty()) return services;
    // Compiled alone first: "a) or (b" must not pass for an expression once it is in brackets.
    Filter(settings.extra_filter, FilterEngine::classic);
    return "(" + services + ") and (" + settings.extra_filter + ")";
}

}  // namespace

std::span<const CounterInfo> classifier_counter_table() {
    return counter_table;
}

Classifier::Classifier(const ClassifierSettings& settings)
    : primary_link_(settings.primary_link),
      services_(settings.services),
      filter_(whole_expression(settings)) {
    if (!settings.extra_filter.empty()) extra_filter_.emplace(settings.extra_filter);
    std::sort(services_.begin(), services_.end());
}

Classified Classifier::count(Verdict verdict, Member counter, bool sign_of_life) {
    ++(counters_.*counter);
    return {verdict, sign_of_life};
}

bool Classifier::is_service(const ServiceEndpoint& endpoint) const {
    return std::binary_search(services_.begin(), services_.end(), endpoint);
}

bool Classifier::is_service_address(const ServiceEndpoint& endpoint) const {
    const auto at = std::lower_bound(services_.begin(), services_.end(), endpoint);
    return at != services_.end() && at->address == endpoint.address;
}

Classified Classifier::classify(const Frame& frame) {
    const auto ethernet = read_header<ether_header>(frame.bytes);
    if (!ethernet) return count(Verdict::not_service, &ClassifierCounters::runt, false);
    const bool primary = primary_link_ && std::memcmp(ethernet->ether_shost, primary_link_->data(),
                                                      primary_link_->size()) == 0;
    if (primary) ++counters_.signs_of_life;
    switch (ntohs(ethernet->ether_type)) {
        case ETHERTYPE_IP:
            return classify_ipv4(frame, primary);
        case ETHERTYPE_ARP:
            return count(Verdict::not_service, &ClassifierCounters::arp, primary);
        case ETHERTYPE_IPV6:
            return classify_ipv6(frame, primary);
        case ETHERTYPE_VLAN:
        case ethertype_service_vlan:
            return count(Verdict::not_service, &ClassifierCounters::vlan, primary);
        default:
            return count(Verdict::not_service, &ClassifierCounters::other_ethertype, primary);
    }
}

Classified Classifier::classify_ipv4(const Frame& frame, bool primary) {
    const auto packet = frame.bytes.subspan(sizeof(ether_header));
    const auto ip = read_header<iphdr>(packet);
    const std::size_t header_length = ip ? std::size_t{ip->ihl} * 4 : 0;
    if (!ip || ip->version != 4 || header_length < min_ip_header)
        return count(Verdict::not_service, &ClassifierCounters::malformed, primary);
    const auto source = mapped_endpoint(ip->saddr), destination = mapped_endpoint(ip->daddr);
    if ((ntohs(ip->frag_off) & (IP_MF | IP_OFFMASK)) != 0)
        return classify_by_address(frame, {source, destination}, &ClassifierCounters::fragment, primary);
    if (ip->protocol == IPPROTO_ICMP)
        return classify_by_address(frame, {source, destination}, &ClassifierCounters::icmp, primary);
    // The ports must lie inside the packet, not in the padding behind a short one.
    const std::size_t length = std::min<std::size_t>(packet.size(), ntohs(ip->tot_len));
    return classify_ports(frame, packet.first(length).subspan(std::min(length, header_length)),
                          {source, destination}, ip->protocol, primary);
}

// RFC 8200 4: the transport header may stand behind extension headers, where libpcap's filter does not see
// it.
Classified Classifier::classify_ipv6(const Frame& frame, bool primary) {
    const auto packet = frame.bytes.subspan(sizeof(ether_header));
    const auto ip = read_header<ip6_hdr>(packet);
    if (!ip || ip->ip6_vfc >> 4 != 6)
        return count(Verdict::not_service, &ClassifierCounters::malformed, primary);
    const auto source = native_endpoint(ip->ip6_src), destination = native_endpoint(ip->ip6_dst);
    const std::size_t length = std::min<std::size_t>(packet.size(), sizeof(ip6_hdr) + ntohs(ip->ip6_plen));
    std::uint8_t next = ip->ip6_nxt;
    std::size_t at = sizeof(ip6_hdr);
    for (int headers = 0; headers < max_extension_headers && is_extension(next); ++headers) {
        if (length < at + extension_unit)
            return count(Verdict::not_service, &ClassifierCounters::malformed, primary);
        const bool is_fragment = next == IPPROTO_FRAGMENT;
        // One that holds the whole packet is none (RFC 6946).
        if (is_fragment && (read_u16(packet.subspan(at + 2)) & 0xfff9) != 0)
            return classify_by_address(frame, {source, destination}, &ClassifierCounters::fragment, primary);
        const auto units = std::to_integer<std::size_t>(packet[at + 1]);
        next = std::to_integer<std::uint8_t>(packet[at]);
        at += is_fragment ? extension_unit : (units + 1) * extension_unit;
    }
    if (next == IPPROTO_ICMPV6)
        return classify_by_address(frame, {source, destination}, &ClassifierCounters::icmp, primary);
    return classify_ports(frame, packet.first(length).subspan(std::min(length, at)), {source, destination},
                          next, primary, at != sizeof(ip6_hdr));
}

// TCP and UDP alike begin with the ports of the source and the destination.
Classified Classifier::classify_ports(const Frame& frame, std::span<const std::byte> packet,
                                      Endpoints endpoints, std::uint8_t protocol, bool primary,
                                      bool behind_extensions) {
    if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
        return count(Verdict::not_service, &ClassifierCounters::other_protocol, primary);
    if (packet.size() < ports_length)
        return count(Verdict::not_service, &ClassifierCounters::malformed, primary);
    endpoints.source.port = read_u16(packet);
    endpoints.destination.port = read_u16(packet.subspan(2));
    endpoints.source.transport = endpoints.destination.transport =
        protocol == IPPROTO_UDP ? Transport::udp : Transport::tcp;
    return classify_service(frame, endpoints, primary, behind_extensions);
}

// What names no ports, or only in the whole (rules.md 7): the stack looks at it if an address fits.
Classified Classifier::classify_by_address(const Frame& frame, const Endpoints& endpoints, Member counter,
                                           bool primary) {
    const bool to_group = primary_link_ && (std::to_integer<unsigned>(frame.bytes[0]) & 1u) != 0;
    if (!to_group && (primary || !primary_link_) && is_service_address(endpoints.source))
        return count(Verdict::from_primary, counter, primary);
    if (!to_group && !primary && is_service_address(endpoints.destination))
        return count(Verdict::from_client, counter, primary);
    return count(Verdict::not_service, counter, primary);
}

Classified Classifier::classify_service(const Frame& frame, const Endpoints& endpoints, bool primary,
                                        bool behind_extensions) {
    const bool is_selected =
        behind_extensions ? !extra_filter_ || extra_filter_->matches(frame) : filter_.matches(frame);
    if (!is_selected) return count(Verdict::not_service, &ClassifierCounters::not_selected, primary);
    const bool from_service = is_service(endpoints.source);
    if (!from_service && !is_service(endpoints.destination))
        return count(Verdict::not_service, &ClassifierCounters::not_selected, primary);
    if (primary_link_ && (std::to_integer<unsigned>(frame.bytes[0]) & 1u) != 0)
        return count(Verdict::refused, &ClassifierCounters::group_destination, primary);
    if (from_service && primary_link_ && !primary)
        return count(Verdict::refused, &ClassifierCounters::foreign_source, primary);
    if (from_service) return count(Verdict::from_primary, &ClassifierCounters::from_primary, primary);
    if (primary) return count(Verdict::refused, &ClassifierCounters::primary_to_itself, primary);
    return count(Verdict::from_client, &ClassifierCounters::from_client, primary);
}

}  // namespace understudy::tap
