// impair: a bad link. Forwards frames between two interfaces, and treats both directions as an Impairment
// says.
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <queue>
#include <string>
#include <system_error>
#include <vector>

#include "tests/interop/impairment.hh"
#include "tests/interop/real_time.hh"
#include "tools/common/program.hh"

namespace understudy::interop {
namespace {

constexpr std::size_t burst = 64;
constexpr std::size_t frame_room = 2048;
// A receiver that is not scheduled for a while loses nothing: what is lost is what was asked for.
constexpr int socket_buffer_bytes = 64 << 20;

struct Options {
    std::string a, b;
    ImpairmentSettings link;
    std::uint64_t delay_us = 0;
    std::uint64_t jitter_us = 0;
    std::uint64_t reorder_delay_us = 1000;
    double rate_mbit = 0;
};

// A packet socket bound to one interface, in bursts.
class Interface {
  public:
    explicit Interface(const std::string& name)
        : descriptor_(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
        const auto require = [&name](bool ok) {
            if (!ok) throw std::system_error(errno, std::generic_category(), "interface " + name);
        };
        require(descriptor_.get() >= 0);
        const int on = 1;
        require(::setsockopt(descriptor_.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) == 0);
        require(::setsockopt(descriptor_.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) == 0);
        require(::setsockopt(descriptor_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &socket_buffer_bytes,
                             sizeof(socket_buffer_bytes)) == 0);
        require(::setsockopt(descriptor_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &socket_buffer_bytes,
                             sizeof(socket_buffer_bytes)) == 0);
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = __builtin_bswap16(ETH_P_ALL);
        address.sll_ifindex = static_cast<int>(::if_nametoindex(name.c_str()));
        require(address.sll_ifindex != 0);
        packet_mreq promiscuous{};
        promiscuous.mr_ifindex = address.sll_ifindex;
        promiscuous.mr_type = PACKET_MR_PROMISC;
        require(::setsockopt(descriptor_.get(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous,
                             sizeof(promiscuous)) == 0);
        require(::bind(descriptor_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
        for (std::size_t i = 0; i < burst; ++i) {
            vectors_[i] = {buffers_[i].data(), buffers_[i].size()};
            messages_[i].msg_hdr.msg_iov = &vectors_[i];
            messages_[i].msg_hdr.msg_iovlen = 1;
        }
    }

    int descriptor() const { return descriptor_.get(); }

    // Hands every frame that has arrived, up to a burst, to `take`.
    template <typename Take>
    void receive(Take take) {
        const int count = ::recvmmsg(descriptor_.get(), messages_.data(), burst, MSG_DONTWAIT, nullptr);
        for (int i = 0; i < count; ++i) {
            const auto at = static_cast<std::size_t>(i);
            take(std::span<const std::byte>(buffers_[at]).first(messages_[at].msg_len));
        }
    }

    void send(const std::vector<std::vector<std::byte>>& frames) {
        std::array<iovec, burst> vectors;
        std::array<mmsghdr, burst> messages{};
        for (std::size_t begin = 0; begin < frames.size(); begin += burst) {
            const std::size_t count = std::min(burst, frames.size() - begin);
            for (std::size_t i = 0; i < count; ++i) {
                // sendmmsg reads only.
                vectors[i] = {const_cast<std::byte*>(frames[begin + i].data()), frames[begin + i].size()};
                messages[i].msg_hdr.msg_iov = &vectors[i];
                messages[i].msg_hdr.msg_iovlen = 1;
            }
            const int sent = ::sendmmsg(descriptor_.get(), messages.data(), static_cast<unsigned>(count), 0);
            failures_ += count - static_cast<std::size_t>(std::max(sent, 0));
        }
    }
    std::uint64_t failures() const { return failures_; }

  private:
    Descriptor descriptor_;
    std::array<std::array<std::byte, frame_room>, burst> buffers_;
    std::array<iovec, burst> vectors_;
    std::array<mmsghdr, burst> messages_{};
    std::uint64_t failures_ = 0;
};

// From one interface to the other: what has arrived and is not due yet.
class Direction {
  public:
    Direction(Interface& from, Interface& to, const ImpairmentSettings& settings, std::uint64_t number)
        : from_(from), to_(to), impairment_(settings, number) {}

    void receive(Instant now) {
        from_.receive([&](std::span<const std::byte> frame) {
            const Fate fate = impairment_.pass(frame.size(), now);
            const auto kept = frame.first(fate.bytes);
            for (const Instant at : fate.arrivals())
                waiting_.push({at, next_order_++, {kept.begin(), kept.end()}});
        });
    }
    void send_due(Instant now) {
        due_.clear();
        while (!waiting_.empty() && waiting_.top().at <= now) {
            // top() is const, but the frame is popped at once.
            due_.push_back(std::move(const_cast<Waiting&>(waiting_.top()).bytes));
            waiting_.pop();
        }
        to_.send(due_);
    }
    std::optional<Instant> next_due() const {
        if (waiting_.empty()) return std::nullopt;
        return waiting_.top().at;
    }
    nlohmann::ordered_json report() const {
        const ImpairmentCounters& c = impairment_.counters();
        return {{"frames", c.frames},         {"lost", c.lost},
                {"duplicated", c.duplicated}, {"reordered", c.reordered},
                {"queue_full", c.queue_full}, {"too_long", c.too_long},
                {"truncated", c.truncated},
                {"not_sent", to_.failures()}};
    }

  private:
    struct Waiting {
        Instant at;
        std::uint64_t order;
        std::vector<std::byte> bytes;
        bool operator<(const Waiting& other) const {
            return at != other.at ? at > other.at : order > other.order;
        }
    };

    Interface& from_;
    Interface& to_;
    Impairment impairment_;
    std::priority_queue<Waiting> waiting_;
    std::vector<std::vector<std::byte>> due_;
    std::uint64_t next_order_ = 0;
};

int forward(const Options& options) {
    const Descriptor stop = open_stop_signals();
    const auto a = std::make_unique<Interface>(options.a);
    const auto b = std::make_unique<Interface>(options.b);
    std::array<Direction, 2> directions{Direction(*a, *b, options.link, 0),
                                        Direction(*b, *a, options.link, 1)};
    std::printf("ready\n");
    std::fflush(stdout);
    while (true) {
        std::array<pollfd, 3> descriptors{
            {{stop.get(), POLLIN, 0}, {a->descriptor(), POLLIN, 0}, {b->descriptor(), POLLIN, 0}}};
        std::optional<Instant> deadline;
        for (const Direction& direction : directions)
            if (const auto due = direction.next_due()) deadline = std::min(*due, deadline.value_or(*due));
        wait(descriptors, deadline);
        if ((descriptors[0].revents & POLLIN) != 0) break;
        const Instant now = read_clock();
        for (std::size_t i = 0; i < directions.size(); ++i) {
            if ((descriptors[i + 1].revents & POLLIN) != 0) directions[i].receive(now);
            directions[i].send_due(now);
        }
    }
    const nlohmann::ordered_json report = {{"a_to_b", directions[0].report()},
                                           {"b_to_a", directions[1].report()}};
    std::printf("%s\n", report.dump().c_str());
    return tools::exit_success;
}

int main(int argc, char** argv) {
    Options options;
    CLI::App cli("Forwards frames between two interfaces, badly, until SIGTERM.");
    tools::set_up_app(cli, "impair");
    cli.add_option("a", options.a, "interface")->required();
    cli.add_option("b", options.b, "interface")->required();
    cli.add_option("--seed", options.link.seed, "of all chances")->capture_default_str();
    cli.add_option("--loss", options.link.loss_per_million, "frames lost, of a million");
    cli.add_option("--duplicate", options.link.duplicate_per_million, "frames doubled, of a million");
    cli.add_option("--reorder", options.link.reorder_per_million, "frames held back, of a million");
    cli.add_option("--truncate", options.link.truncate_per_million, "frames that lose their end, of a million");
    cli.add_option("--reorder-delay-us", options.reorder_delay_us, "how long, at most")
        ->capture_default_str();
    cli.add_option("--delay-us", options.delay_us, "of every frame");
    cli.add_option("--jitter-us", options.jitter_us, "up to so much more; the order is kept");
    cli.add_option("--rate-mbit", options.rate_mbit, "Mbit/s in each direction; 0: no limit");
    cli.add_option("--queue-bytes", options.link.queue_bytes, "what waits at that rate")
        ->capture_default_str();
    cli.add_option("--mtu", options.link.mtu, "longer IP packets are dropped; 0: none");
    if (const auto status = tools::parse_command_line(cli, argc, argv)) return *status;
    options.link.delay = std::chrono::microseconds(options.delay_us);
    options.link.jitter = std::chrono::microseconds(options.jitter_us);
    options.link.reorder_delay = std::chrono::microseconds(options.reorder_delay_us);
    options.link.rate_bits_per_second = static_cast<std::uint64_t>(options.rate_mbit * 1e6);
    return tools::run_program(cli.get_name(), [&options] { return forward(options); });
}

}  // namespace
}  // namespace understudy::interop

int main(int argc, char** argv) {
    return understudy::interop::main(argc, argv);
}
