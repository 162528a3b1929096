#include "tap/decapsulate.hh"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace understudy::tap {
namespace {

using Bytes = std::span<const std::byte>;
using Counter = std::uint64_t DecapsulationCounters::*;

constexpr std::size_t ethernet_addresses = 12;
constexpr std::size_t ethernet_header = 14;
constexpr int max_headers = 16;
constexpr int max_extension_headers = 8;

constexpr std::uint16_t type_v4 = 0x0800;
constexpr std::uint16_t type_arp = 0x0806;
constexpr std::uint16_t type_bridged = 0x6558;  // transparent Ethernet bridging
constexpr std::uint16_t type_vlan = 0x8100;
constexpr std::uint16_t type_v6 = 0x86dd;
constexpr std::uint16_t type_mpls = 0x8847;
constexpr std::uint16_t type_mpls_upstream = 0x8848;
constexpr std::uint16_t type_pppoe_session = 0x8864;
constexpr std::uint16_t type_ppp = 0x880b;
constexpr std::uint16_t type_service_vlan = 0x88a8;
constexpr std::uint16_t type_erspan = 0x88be;
constexpr std::uint16_t type_pbb = 0x88e7;
constexpr std::uint16_t type_erspan_3 = 0x22eb;
constexpr std::uint16_t least_type = 0x0600;  // below it stands a length (IEEE 802.3)

constexpr std::uint8_t protocol_v4 = 4;
constexpr std::uint8_t protocol_udp = 17;
constexpr std::uint8_t protocol_v6 = 41;
constexpr std::uint8_t protocol_gre = 47;
constexpr std::uint8_t protocol_ether_ip = 97;

constexpr std::uint16_t port_vxlan = 4789;
constexpr std::uint16_t port_geneve = 6081;
constexpr std::uint16_t port_teredo = 3544;
constexpr std::uint16_t port_gtp = 2152;

std::uint8_t u8(Bytes bytes, std::size_t at) {
    return std::to_integer<std::uint8_t>(bytes[at]);
}
std::uint16_t u16(Bytes bytes, std::size_t at) {
    return static_cast<std::uint16_t>(u8(bytes, at) << 8 | u8(bytes, at + 1));
}

struct Name {
    std::string_view name;
    Wrapping wrapping;
};
constexpr std::array names = {
    Name{"vlan", Wrapping::vlan},     Name{"snap", Wrapping::snap},        Name{"pbb", Wrapping::pbb},
    Name{"mpls", Wrapping::mpls},     Name{"pppoe", Wrapping::pppoe},      Name{"gre", Wrapping::gre},
    Name{"erspan", Wrapping::erspan}, Name{"vxlan", Wrapping::vxlan},      Name{"geneve", Wrapping::geneve},
    Name{"ipip", Wrapping::ip_in_ip}, Name{"etherip", Wrapping::ether_ip}, Name{"teredo", Wrapping::teredo},
    Name{"gtp", Wrapping::gtp},
};

constexpr std::array counter_table = {
    DecapsulationCounterInfo{"plain", "frames with no tag and no tunnel", &DecapsulationCounters::plain},
    DecapsulationCounterInfo{"opened", "frames of which tags or tunnels were taken off",
                             &DecapsulationCounters::opened},
    DecapsulationCounterInfo{"malformed", "refused: a tag or tunnel header is cut, or its length cannot be",
                             &DecapsulationCounters::malformed},
    DecapsulationCounterInfo{"too_deep", "refused: more tags and tunnels than any mirror adds",
                             &DecapsulationCounters::too_deep},
    DecapsulationCounterInfo{"vlan", "VLAN tags taken off", &DecapsulationCounters::vlan},
    DecapsulationCounterInfo{"snap", "LLC and SNAP headers taken off", &DecapsulationCounters::snap},
    DecapsulationCounterInfo{"pbb", "backbone headers (802.1ah) taken off", &DecapsulationCounters::pbb},
    DecapsulationCounterInfo{"mpls", "MPLS label stacks taken off", &DecapsulationCounters::mpls},
    DecapsulationCounterInfo{"pppoe", "PPPoE headers taken off", &DecapsulationCounters::pppoe},
    DecapsulationCounterInfo{"gre", "GRE tunnels opened", &DecapsulationCounters::gre},
    DecapsulationCounterInfo{"erspan", "ERSPAN tunnels opened", &DecapsulationCounters::erspan},
    DecapsulationCounterInfo{"vxlan", "VXLAN tunnels opened", &DecapsulationCounters::vxlan},
    DecapsulationCounterInfo{"geneve", "GENEVE tunnels opened", &DecapsulationCounters::geneve},
    DecapsulationCounterInfo{"ip_in_ip", "IP-in-IP tunnels opened", &DecapsulationCounters::ip_in_ip},
    DecapsulationCounterInfo{"ether_ip", "EtherIP tunnels opened", &DecapsulationCounters::ether_ip},
    DecapsulationCounterInfo{"teredo", "Teredo tunnels opened", &DecapsulationCounters::teredo},
    DecapsulationCounterInfo{"gtp", "GTP-U tunnels opened", &DecapsulationCounters::gtp},
    DecapsulationCounterInfo{"left_closed", "tunnels that --decapsulate does not name, left as they are",
                             &DecapsulationCounters::left_closed},
    DecapsulationCounterInfo{"unopenable", "fragments of tunnels, and tunnels without IP or Ethernet inside",
                             &DecapsulationCounters::unopenable},
};
static_assert(counter_table.size() * sizeof(std::uint64_t) == sizeof(DecapsulationCounters));

// What one header said of the next.
enum class Step : std::uint8_t {
    on,         // look at what follows
    done,       // nothing more to take off
    malformed,  // cut
    too_deep,
};

// Walks from the outside in. `inner` is the payload of the frame found so far.
class Walk {
  public:
    Walk(Bytes frame, Wrappings wrappings, DecapsulationCounters& counters)
        : wrappings_(wrappings), counters_(counters), frame_(frame) {}

    std::optional<Opened> run() {
        if (frame_.size() < ethernet_header) return as_it_is();  // the classifier's runt
        enter_ethernet(frame_);
        changed_ = false;
        for (int headers = 0; headers < max_headers; ++headers) {
            switch (step()) {
                case Step::on:
                    continue;
                case Step::done:
                    return result();
                case Step::malformed:
                    ++counters_.malformed;
                    return std::nullopt;
                case Step::too_deep:
                    ++counters_.too_deep;
                    return std::nullopt;
            }
        }
        ++counters_.too_deep;
        return std::nullopt;
    }

  private:
    std::optional<Opened> as_it_is() {
        ++counters_.plain;
        return Opened{frame_, false, {}};
    }

    std::optional<Opened> result() {
        if (!changed_) return as_it_is();
        ++counters_.opened;
        Opened opened{rest_, true, {}};
        std::copy(addresses_.begin(), addresses_.end(), opened.header);
        opened.header[12] = std::byte(type_ >> 8);
        opened.header[13] = std::byte(type_ & 0xff);
        return opened;
    }

    void enter_ethernet(Bytes frame) {
        addresses_ = frame.first(ethernet_addresses);
        type_ = u16(frame, ethernet_addresses);
        rest_ = frame.subspan(ethernet_header);
        changed_ = true;
    }

    // True when the setting takes it off; else the frame stays as it is from here on.
    bool may_open(Wrapping wrapping) {
        if (wrappings_.has(wrapping)) return true;
        ++counters_.left_closed;
        return false;
    }

    Step give_up() {
        ++counters_.unopenable;
        return Step::done;
    }

    // `skip` bytes, then what `type` says.
    Step descend(Counter counter, std::size_t skip, std::uint16_t type) {
        if (rest_.size() < skip) return Step::malformed;
        ++(counters_.*counter);
        rest_ = rest_.subspan(skip);
        type_ = type;
        changed_ = true;
        return Step::on;
    }

    // Of a tunnel whose payload is `inside`.
    Step into_ethernet(Counter counter, Bytes inside) {
        if (inside.size() < ethernet_header) return Step::malformed;
        ++(counters_.*counter);
        enter_ethernet(inside);
        return Step::on;
    }

    Step into(Counter counter, Bytes inside, std::uint16_t type) {
        ++(counters_.*counter);
        rest_ = inside;
        type_ = type;
        changed_ = true;
        return Step::on;
    }

    // A packet that says itself which IP it is.
    static std::uint16_t ip_type(Bytes packet) {
        if (packet.empty()) return 0;
        const int version = u8(packet, 0) >> 4;
        return version == 4 ? type_v4 : version == 6 ? type_v6 : 0;
    }

    Step step() {
        switch (type_) {
            case type_v4:
                return step_v4();
            case type_v6:
                return step_v6();
            case type_arp:
                return Step::done;
            case type_vlan:
            case type_service_vlan:
            case 0x9100:
            case 0x9200:
                if (!may_open(Wrapping::vlan)) return Step::done;
                if (rest_.size() < 4) return Step::malformed;
                return descend(&DecapsulationCounters::vlan, 4, u16(rest_, 2));
            case type_pbb:
                // Flags and the service's number; then the customer's frame.
                if (!may_open(Wrapping::pbb)) return Step::done;
                if (rest_.size() < 4) return Step::malformed;
                return into_ethernet(&DecapsulationCounters::pbb, rest_.subspan(4));
            case type_mpls:
            case type_mpls_upstream:
                return may_open(Wrapping::mpls) ? step_mpls() : Step::done;
            case type_pppoe_session:
                return may_open(Wrapping::pppoe) ? step_pppoe() : Step::done;
            default:
                return type_ < least_type ? step_llc() : Step::done;
        }
    }

    Step step_llc() {
        constexpr std::array snap = {std::byte{0xaa}, std::byte{0xaa}, std::byte{0x03}};
        const std::size_t length = std::min<std::size_t>(type_, rest_.size());
        const Bytes llc = rest_.first(length);
        if (llc.size() < 3) return Step::done;
        if (u8(llc, 0) == 0x06 && u8(llc, 1) == 0x06 &&
            u8(llc, 2) == 0x03) {  // IP's own service access point
            if (!may_open(Wrapping::snap)) return Step::done;
            return into(&DecapsulationCounters::snap, llc.subspan(3), type_v4);
        }
        if (llc.size() < 8 || !std::equal(snap.begin(), snap.end(), llc.begin())) return Step::done;
        const std::uint32_t organisation =
            static_cast<std::uint32_t>(u8(llc, 3) << 16 | u8(llc, 4) << 8 | u8(llc, 5));
        if (organisation != 0 && organisation != 0x0000f8) return Step::done;  // RFC 1042, 802.1H
        if (u16(llc, 6) < least_type) return Step::done;
        if (!may_open(Wrapping::snap)) return Step::done;
        return into(&DecapsulationCounters::snap, llc.subspan(8), u16(llc, 6));
    }

    Step step_mpls() {
        Bytes rest = rest_;
        for (int labels = 0; labels < max_headers; ++labels) {
            if (rest.size() < 4) return Step::malformed;
            const bool is_bottom = (u8(rest, 2) & 1) != 0;
            rest = rest.subspan(4);
            if (!is_bottom) continue;
            const std::uint16_t type = ip_type(rest);
            if (type != 0) return into(&DecapsulationCounters::mpls, rest, type);
            // RFC 4448: the control word of an Ethernet pseudowire begins with a zero nibble.
            if (rest.size() >= 4 + ethernet_header && u8(rest, 0) >> 4 == 0)
                return into_ethernet(&DecapsulationCounters::mpls, rest.subspan(4));
            return give_up();
        }
        return Step::too_deep;
    }

    // The protocol field, one byte where it is compressed (RFC 1661 6.5).
    Step into_ppp(Counter counter, Bytes ppp) {
        if (ppp.size() >= 2 && u8(ppp, 0) == 0xff && u8(ppp, 1) == 0x03) ppp = ppp.subspan(2);
        if (ppp.empty()) return Step::malformed;
        std::uint16_t protocol = u8(ppp, 0);
        std::size_t length = 1;
        if ((protocol & 1) == 0) {
            if (ppp.size() < 2) return Step::malformed;
            protocol = u16(ppp, 0);
            length = 2;
        }
        const std::uint16_t type = protocol == 0x21    ? type_v4
                                   : protocol == 0x57  ? type_v6
                                   : protocol == 0x281 ? type_mpls
                                                       : std::uint16_t{0};
        if (type == 0) return give_up();
        return into(counter, ppp.subspan(length), type);
    }

    Step step_pppoe() {
        constexpr std::size_t header = 6;
        if (rest_.size() < header) return Step::malformed;
        const std::size_t length = u16(rest_, 4);
        const Bytes inside = rest_.subspan(header);
        return into_ppp(&DecapsulationCounters::pppoe, inside.first(std::min(length, inside.size())));
    }

    Step step_v4() {
        constexpr std::size_t least_header = 20;
        if (rest_.size() < least_header) return Step::done;  // the classifier counts what is broken
        const std::size_t header = (u8(rest_, 0) & 0x0fu) * 4;
        if (header < least_header || rest_.size() < header) return Step::done;
        const bool is_fragment = (u16(rest_, 6) & 0x3fff) != 0;
        const std::size_t total = std::min<std::size_t>(u16(rest_, 2), rest_.size());
        if (total < header) return Step::done;
        return step_transport(u8(rest_, 9), rest_.subspan(header, total - header), is_fragment);
    }

    Step step_v6() {
        constexpr std::size_t fixed = 40;
        if (rest_.size() < fixed) return Step::done;
        std::uint8_t next = u8(rest_, 6);
        Bytes rest = rest_.subspan(fixed, std::min<std::size_t>(u16(rest_, 4), rest_.size() - fixed));
        bool is_fragment = false;
        for (int headers = 0; headers < max_extension_headers; ++headers) {
            if (next != 0 && next != 43 && next != 44 && next != 60) break;
            if (rest.size() < 8) return Step::done;
            const std::size_t length = next == 44 ? 8 : (u8(rest, 1) + std::size_t{1}) * 8;
            is_fragment = is_fragment || (next == 44 && (u16(rest, 2) & 0xfff9) != 0);
            if (rest.size() < length) return Step::done;
            next = u8(rest, 0);
            rest = rest.subspan(length);
        }
        return step_transport(next, rest, is_fragment);
    }

    Step step_transport(std::uint8_t protocol, Bytes inside, bool is_fragment) {
        switch (protocol) {
            case protocol_v4:
            case protocol_v6:
                if (!may_open(Wrapping::ip_in_ip)) return Step::done;
                if (is_fragment) return give_up();
                return into(&DecapsulationCounters::ip_in_ip, inside,
                            protocol == protocol_v4 ? type_v4 : type_v6);
            case protocol_gre:
                return step_gre(inside, is_fragment);
            case protocol_ether_ip:
                if (!may_open(Wrapping::ether_ip)) return Step::done;
                if (is_fragment || inside.size() < 2) return give_up();
                return into_ethernet(&DecapsulationCounters::ether_ip, inside.subspan(2));
            case protocol_udp:
                return is_fragment ? Step::done : step_udp(inside);
            default:
                return Step::done;
        }
    }

    Step step_gre(Bytes gre, bool is_fragment) {
        constexpr std::uint16_t checksum = 0x8000, routing = 0x4000, key = 0x2000, sequence = 0x1000;
        constexpr std::uint16_t acknowledgement = 0x0080, version = 0x0007;
        if (!wrappings_.has(Wrapping::gre) && !wrappings_.has(Wrapping::erspan)) {
            ++counters_.left_closed;
            return Step::done;
        }
        if (is_fragment) return give_up();
        if (gre.size() < 4) return Step::malformed;
        const std::uint16_t flags = u16(gre, 0), type = u16(gre, 2);
        if ((flags & routing) != 0 || (flags & version) > 1) return give_up();
        std::size_t length = 4;
        if ((flags & checksum) != 0) length += 4;
        if ((flags & key) != 0) length += 4;
        if ((flags & sequence) != 0) length += 4;
        if ((flags & version) == 1 && (flags & acknowledgement) != 0) length += 4;
        if (gre.size() < length) return Step::malformed;
        const Bytes inside = gre.subspan(length);
        if (type == type_erspan || type == type_erspan_3)
            return step_erspan(inside, type, (flags & sequence) != 0);
        if (!may_open(Wrapping::gre)) return Step::done;
        if (type == type_bridged) return into_ethernet(&DecapsulationCounters::gre, inside);
        if (type == type_ppp)
            return inside.empty() ? give_up() : into_ppp(&DecapsulationCounters::gre, inside);
        if (type == type_v4 || type == type_v6 || type == type_mpls)
            return into(&DecapsulationCounters::gre, inside, type);
        return give_up();
    }

    Step step_erspan(Bytes inside, std::uint16_t type, bool has_sequence) {
        if (!may_open(Wrapping::erspan)) return Step::done;
        std::size_t header = 0;  // type I has none, and no sequence number
        if (type == type_erspan && has_sequence) header = 8;
        if (type == type_erspan_3) {
            header = 12;
            if (inside.size() < header) return Step::malformed;
            if ((u8(inside, 11) & 1) != 0) header += 8;  // the platform's own part
        }
        if (inside.size() < header) return Step::malformed;
        return into_ethernet(&DecapsulationCounters::erspan, inside.subspan(header));
    }

    Step step_udp(Bytes udp) {
        constexpr std::size_t header = 8;
        if (udp.size() < header) return Step::done;
        const std::uint16_t from = u16(udp, 0), to = u16(udp, 2);
        const Bytes inside = udp.subspan(header);
        if (to == port_vxlan) {
            if (!may_open(Wrapping::vxlan)) return Step::done;
            // RFC 7348 5: the flag says that the network's number is there.
            if (inside.size() < 8) return Step::malformed;
            if ((u8(inside, 0) & 0x08) == 0) return give_up();
            return into_ethernet(&DecapsulationCounters::vxlan, inside.subspan(8));
        }
        if (to == port_geneve) return may_open(Wrapping::geneve) ? step_geneve(inside) : Step::done;
        if (to == port_teredo || from == port_teredo) return step_teredo(inside);
        if (to == port_gtp) return step_gtp(inside);
        return Step::done;
    }

    Step step_geneve(Bytes geneve) {
        if (geneve.size() < 8) return Step::malformed;
        const std::size_t header = 8 + (u8(geneve, 0) & 0x3fu) * 4;
        if (u8(geneve, 0) >> 6 != 0) return give_up();
        if (geneve.size() < header) return Step::malformed;
        const std::uint16_t type = u16(geneve, 2);
        const Bytes inside = geneve.subspan(header);
        if (type == type_bridged) return into_ethernet(&DecapsulationCounters::geneve, inside);
        if (type == type_v4 || type == type_v6) return into(&DecapsulationCounters::geneve, inside, type);
        return give_up();
    }

    // RFC 4380 5.1.1: an authentication and an origin indication may stand before the packet.
    Step step_teredo(Bytes inside) {
        if (inside.size() >= 4 && u16(inside, 0) == 0x0001) {
            const std::size_t length = std::size_t{13} + u8(inside, 2) + u8(inside, 3);
            if (inside.size() < length) return Step::done;
            inside = inside.subspan(length);
        }
        if (inside.size() >= 8 && u16(inside, 0) == 0x0000) inside = inside.subspan(8);
        if (inside.size() < 40 || ip_type(inside) != type_v6)
            return Step::done;  // somebody else's use of the port
        if (!may_open(Wrapping::teredo)) return Step::done;
        return into(&DecapsulationCounters::teredo, inside, type_v6);
    }

    Step step_gtp(Bytes gtp) {
        constexpr std::uint8_t user_data = 255;
        if (gtp.size() < 8 || u8(gtp, 0) >> 5 != 1 || u8(gtp, 1) != user_data) return Step::done;
        if (!may_open(Wrapping::gtp)) return Step::done;
        std::size_t at = 8;
        if ((u8(gtp, 0) & 0x07) != 0) {
            at = 12;
            if (gtp.size() < at) return Step::malformed;
            for (std::uint8_t next = u8(gtp, 11); next != 0;) {
                if (gtp.size() < at + 1) return Step::malformed;
                const std::size_t length = std::size_t{u8(gtp, at)} * 4;
                if (length == 0 || gtp.size() < at + length) return Step::malformed;
                next = u8(gtp, at + length - 1);
                at += length;
            }
        }
        const Bytes inside = gtp.subspan(at);
        const std::uint16_t type = ip_type(inside);
        return type == 0 ? give_up() : into(&DecapsulationCounters::gtp, inside, type);
    }

    Wrappings wrappings_;
    DecapsulationCounters& counters_;
    Bytes frame_;
    Bytes addresses_;
    Bytes rest_;
    std::uint16_t type_ = 0;
    bool changed_ = false;
};

}  // namespace

std::optional<Wrapping> parse_wrapping(std::string_view name) {
    const auto found =
        std::find_if(names.begin(), names.end(), [&](const Name& n) { return n.name == name; });
    if (found == names.end()) return std::nullopt;
    return found->wrapping;
}

std::string_view wrapping_names() {
    return "vlan, snap, pbb, mpls, pppoe, gre, erspan, vxlan, geneve, ipip, etherip, teredo, gtp";
}

std::span<const DecapsulationCounterInfo> decapsulation_counter_table() {
    return counter_table;
}

std::optional<Opened> open_frame(Bytes frame, Wrappings wrappings, DecapsulationCounters& counters) {
    return Walk(frame, wrappings, counters).run();
}

Decapsulator::Decapsulator(Wrappings wrappings, std::size_t burst) : wrappings_(wrappings), burst_(burst) {}

std::optional<Frame> Decapsulator::open(const Frame& frame) {
    const auto opened = open_frame(frame.bytes, wrappings_, counters_);
    if (!opened) return std::nullopt;
    if (!opened->has_header) return frame;
    if (copies_ == nullptr) copies_.reset(new std::byte[burst_ * slot_bytes]);
    const std::size_t length = std::min(ethernet_header + opened->payload.size(), slot_bytes);
    if (used_ == burst_) used_ = 0;
    std::byte* const copy = copies_.get() + used_++ * slot_bytes;
    std::copy(std::begin(opened->header), std::end(opened->header), copy);
    std::copy_n(opened->payload.begin(), length - ethernet_header, copy + ethernet_header);
    const std::size_t cut =
        frame.wire_length > frame.bytes.size() ? frame.wire_length - frame.bytes.size() : 0;
    return Frame{std::span(copy, length), static_cast<std::uint32_t>(length + cut), frame.timestamp_ns,
                 nullptr};
}

}  // namespace understudy::tap
