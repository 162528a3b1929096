#include "failover/link_probe.hh"

#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <system_error>

namespace understudy::failover {
namespace {

// Most messages taken from one socket at a time.
constexpr int read_burst = 64;

// RFC 792: the echo message, the same in RFC 4443 4.1 but for its type.
struct Echo {
    std::uint8_t type = 0;
    std::uint8_t code = 0;
    std::uint16_t checksum = 0;
    std::uint16_t identifier = 0;
    std::uint16_t sequence = 0;
    std::array<std::uint8_t, 8> secret{};
};
static_assert(sizeof(Echo) == 16);

// RFC 1071, over a message of whole 16-bit words.
std::uint16_t checksum_of(const Echo& echo) {
    std::array<std::uint16_t, sizeof(Echo) / 2> words;
    std::memcpy(words.data(), &echo, sizeof echo);
    std::uint32_t sum = 0;
    for (const std::uint16_t word : words)
        sum += word;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

template <class Option>
void set_option(int descriptor, int level, int name, const Option& value) {
    // A filter only spares reads: without it the messages are refused one by one.
    [[maybe_unused]] const int ignored = setsockopt(descriptor, level, name, &value, sizeof value);
}

void pass_only_answers(int descriptor, bool ipv6) {
    if (ipv6) {
        icmp6_filter filter;
        ICMP6_FILTER_SETBLOCKALL(&filter);
        ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
        set_option(descriptor, IPPROTO_ICMPV6, ICMP6_FILTER, filter);
    } else {
        icmp_filter filter{.data = ~(1u << ICMP_ECHOREPLY)};
        set_option(descriptor, SOL_RAW, ICMP_FILTER, filter);
    }
}

// The ICMP message in what a raw socket hands out: for IPv4 with the IP header before it.
std::span<const std::uint8_t> message_in(std::span<const std::uint8_t> bytes, bool ipv6) {
    if (ipv6 || bytes.empty()) return bytes;
    const std::size_t header = static_cast<std::size_t>(bytes[0] & 0x0f) * 4;
    return header <= bytes.size() ? bytes.subspan(header) : bytes.first(0);
}

}  // namespace

LinkProbe::LinkProbe(const std::vector<LinkAddressing>& links, std::function<std::uint64_t()> random)
    : secret_(random()) {
    for (const LinkAddressing& link : links)
        open(link);
}

LinkProbe::~LinkProbe() {
    for (const Socket& socket : sockets_)
        close(socket.descriptor);
}

void LinkProbe::open(const LinkAddressing& link) {
    const bool ipv6 = link.peer.address().is_v6();
    const int descriptor = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
                                  ipv6 ? static_cast<int>(IPPROTO_ICMPV6) : static_cast<int>(IPPROTO_ICMP));
    // The ports of a raw socket's addresses mean nothing, and must be 0.
    auto local = link.local;
    auto peer = link.peer;
    local.port(0);
    peer.port(0);
    const bool bound =
        descriptor >= 0 &&
        (link.interface.empty() || setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, link.interface.c_str(),
                                              static_cast<socklen_t>(link.interface.size())) == 0) &&
        bind(descriptor, local.data(), static_cast<socklen_t>(local.size())) == 0 &&
        connect(descriptor, peer.data(), static_cast<socklen_t>(peer.size())) == 0;
    if (!bound) {
        why_ = "no probe of " + peer.address().to_string() +
               " is possible: " + std::generic_category().message(errno);
        if (descriptor >= 0) close(descriptor);
        return;
    }
    pass_only_answers(descriptor, ipv6);
    sockets_.push_back({descriptor, ipv6});
}

void LinkProbe::send() {
    ++sequence_;
    for (const Socket& socket : sockets_) {
        Echo echo;
        echo.type = socket.ipv6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
        echo.identifier = static_cast<std::uint16_t>(secret_);
        echo.sequence = sequence_;
        std::memcpy(echo.secret.data(), &secret_, sizeof secret_);
        // For IPv6 the kernel fills it in (RFC 3542 3.1).
        if (!socket.ipv6) echo.checksum = checksum_of(echo);
        if (::send(socket.descriptor, &echo, sizeof echo, 0) == static_cast<ssize_t>(sizeof echo))
            ++counters_.sent;
        else
            ++counters_.send_failures;
    }
}

bool LinkProbe::read_answers() {
    bool answered = false;
    for (const Socket& socket : sockets_) {
        for (int i = 0; i < read_burst; ++i) {
            std::array<std::uint8_t, 256> buffer;
            const ssize_t length = recv(socket.descriptor, buffer.data(), buffer.size(), 0);
            if (length < 0 && errno == EAGAIN) break;
            // An error of an earlier send: reading it clears it.
            if (length < 0) continue;
            const auto message =
                message_in(std::span(buffer).first(static_cast<std::size_t>(length)), socket.ipv6);
            Echo echo;
            const bool whole = message.size() >= sizeof echo;
            if (whole) std::memcpy(&echo, message.data(), sizeof echo);
            if (whole && echo.type == (socket.ipv6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY) &&
                std::memcmp(echo.secret.data(), &secret_, sizeof secret_) == 0) {
                ++counters_.answers;
                answered = true;
            } else {
                ++counters_.refused;
            }
        }
    }
    return answered;
}

}  // namespace understudy::failover
