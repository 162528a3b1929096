// A port that cuts segments: what is on the wire, and when, is what leaves without it, byte for byte.
#include <gtest/gtest.h>

#include <random>

#include "tap/memory_port.hh"
#include "tests/unit/stack/harness.hh"
#include "tests/unit/stack/summing_port.hh"

namespace understudy::stack::test {
namespace {

using Frames = std::vector<std::vector<std::byte>>;

const Endpoint client6 = *parse_endpoint("[fd00:77::100]:40000");
const Endpoint service6 = *parse_endpoint("[fd00:77::1]:7000");

class PortSink final : public FrameSink {
  public:
    explicit PortSink(tap::Port& port) : port_(port) {}
    std::span<std::byte> reserve(std::size_t length) override { return port_.reserve(length); }
    void commit() override { port_.commit(); }
    std::span<std::byte> extend(std::size_t length) override { return port_.extend(length); }
    void commit_segments(std::uint16_t bytes) override { port_.commit_segments(bytes); }

  private:
    tap::Port& port_;
};

struct World {
    World(Settings settings, std::uint32_t super_segment_bytes) : port_(1500, 1 << 16), sink_(port_) {
        settings.super_segment_bytes = super_segment_bytes;
        if (super_segment_bytes != 0) {
            settings.transport_checksums = wire::Summing::port;
            port_.set_offloads({.transmit_checksums = true, .segmentation_bytes = super_segment_bytes});
        }
        stack.emplace(settings, sink_, events, random_);
    }
    Frames take_sent() {
        port_.flush();
        Frames frames = port_.take_sent();
        for (auto& frame : frames)
            if (!decode(frame)) fill_checksum(frame);  // one that the port was to sum, not to cut
        return frames;
    }

    Recorder events;
    std::optional<Stack> stack;

  private:
    CountingRandom random_;
    tap::MemoryPort port_;
    PortSink sink_;
};

// A client that loses some of what comes, answers with what it has, and sends a little itself.
class LossyClient {
  public:
    LossyClient(std::mt19937& random, bool v6, bool timestamps) : random_(random), timestamps_(timestamps) {
        blank_.source = v6 ? client6 : client_endpoint;
        blank_.destination = v6 ? service6 : service_endpoint;
    }

    Packet syn() {
        Packet packet = blank_;
        packet.tcp.seq = Seq(999);
        packet.tcp.flags.bits = TcpFlags::syn | TcpFlags::ece | TcpFlags::cwr;
        packet.tcp.window = 65535;
        packet.tcp.options.mss = 1400;
        packet.tcp.options.sack_permitted = true;
        packet.tcp.options.window_scale_present = true;
        packet.tcp.options.window_scale = 6;
        packet.tcp.options.timestamps_present = timestamps_;
        packet.tcp.options.tsval = 1;
        return packet;
    }
    void open(const Packet& syn_ack) { next_ = begin_ = syn_ack.tcp.seq + 1; }
    void take(const Packet& packet) {
        if (packet.payload.empty() && !packet.has(TcpFlags::fin)) return;
        if (random_() % 40 == 0) return;
        tsecr_ = packet.tcp.options.tsval;
        const std::uint32_t at = distance(begin_, packet.tcp.seq);
        const std::size_t end = at + packet.payload.size();
        if (have_.size() < end) have_.resize(end);
        std::fill(have_.begin() + at, have_.begin() + static_cast<std::ptrdiff_t>(end), true);
        if (packet.has(TcpFlags::fin)) fin_at_ = end;
        owes_ = true;
    }
    bool owes() const { return owes_; }
    Packet answer() {
        owes_ = false;
        while (in_order_ < have_.size() && have_[in_order_])
            ++in_order_;
        next_ = begin_ + static_cast<std::uint32_t>(in_order_) + (fin_at_ == in_order_ ? 1 : 0);
        Packet packet = blank_;
        packet.tcp.seq = Seq(1000 + sent_);
        packet.tcp.ack = next_;
        packet.tcp.flags.bits = TcpFlags::ack;
        if (random_() % 50 == 0) packet.tcp.flags.bits |= TcpFlags::ece;
        packet.tcp.window = static_cast<std::uint16_t>(random_() % 30 == 0 ? 20 : 1024 + random_() % 1000);
        packet.tcp.options.timestamps_present = timestamps_;
        packet.tcp.options.tsval = ++tsval_;
        packet.tcp.options.tsecr = tsecr_;
        for (std::size_t i = in_order_; i < have_.size() && packet.tcp.options.sack_count < 3; ++i) {
            if (!have_[i]) continue;
            const std::size_t from = i;
            while (i < have_.size() && have_[i])
                ++i;
            packet.tcp.options.sack[packet.tcp.options.sack_count++] = {
                begin_ + static_cast<std::uint32_t>(from), begin_ + static_cast<std::uint32_t>(i)};
        }
        if (random_() % 8 == 0) {
            packet.payload = "more";
            sent_ += 4;
        }
        return packet;
    }

  private:
    std::mt19937& random_;
    bool timestamps_;
    Packet blank_;
    Seq begin_, next_;
    std::vector<bool> have_;
    std::size_t in_order_ = 0;
    std::size_t fin_at_ = SIZE_MAX;
    std::uint32_t sent_ = 0, tsval_ = 1, tsecr_ = 0;
    bool owes_ = false;
};

struct Case {
    bool v6 = false;
    bool timestamps = false;
    std::uint32_t bytes = 65535;
};

class Segmentation : public ::testing::TestWithParam<Case> {
  protected:
    Segmentation() : client_(random_, GetParam().v6, GetParam().timestamps) {
        Settings settings = settings_for(Mode::master);
        settings.services = {GetParam().v6 ? service6 : service_endpoint};
        with_.emplace(settings, GetParam().bytes);
        without_.emplace(settings, 0u);
    }

    template <class Call>
    void both(Call&& call) {
        call(*with_);
        call(*without_);
        Frames plain = without_->take_sent();
        ASSERT_EQ(with_->take_sent(), plain);
        segments_ += plain.size();
        for (const auto& frame : plain) {
            const auto packet = decode(frame);
            ASSERT_TRUE(packet);
            if (packet->has(TcpFlags::syn)) client_.open(*packet);
            client_.take(*packet);
        }
    }
    void inject(const Packet& packet) {
        const auto frame = encode(packet);
        const ReceivedFrame received{Source::service, frame, static_cast<std::uint32_t>(frame.size())};
        both([&](World& world) { world.stack->receive(std::span(&received, 1), now_); });
    }
    void pass(Duration time) {
        now_ += time;
        both([&](World& world) { world.stack->advance(now_); });
    }

    std::mt19937 random_{20};
    LossyClient client_;
    std::optional<World> with_, without_;
    Instant now_{1h};
    std::size_t segments_ = 0;
};

TEST_P(Segmentation, LeavesTheSameBytesOnTheWire) {
    inject(client_.syn());
    inject(client_.answer());
    ASSERT_EQ(with_->events.log, std::vector<std::string>{"accepted"});
    const std::string text(200'000, 't');
    for (int step = 0; step < 3000 && !HasFatalFailure(); ++step) {
        if (random_() % 12 == 0) {
            const auto bytes =
                as_bytes(text).first(1 + random_() % (random_() % 2 == 0 ? 3000 : text.size()));
            const bool more = random_() % 5 == 0;
            both([&](World& world) { world.stack->send(world.events.connection, bytes, now_, more); });
        }
        if (client_.owes() && random_() % 3 != 0) inject(client_.answer());
        pass(random_() % 60 == 0 ? 900ms : std::chrono::microseconds(random_() % 3000));
    }
    both([&](World& world) { world.stack->close(world.events.connection, now_); });
    for (int step = 0; step < 3000 && !HasFatalFailure(); ++step) {
        if (client_.owes()) inject(client_.answer());
        pass(5ms);
    }
    const Counters& counters = with_->stack->counters();
    EXPECT_EQ(counters.tcp_segments_sent, without_->stack->counters().tcp_segments_sent);
    EXPECT_EQ(without_->stack->counters().tcp_super_segments_sent, 0u);
    EXPECT_GT(counters.tcp_retransmitted, 20u) << "nothing was lost";
    EXPECT_GT(counters.tcp_super_segments_sent, 500u);
    EXPECT_GT(segments_, 1000u);
}

INSTANTIATE_TEST_SUITE_P(Ports, Segmentation,
                         ::testing::Values(Case{}, Case{.timestamps = true},
                                           Case{.v6 = true, .timestamps = true}, Case{.bytes = 4000},
                                           Case{.v6 = true, .bytes = 9000}));

TEST(SuperSegments, NeedAPortThatSumsAndAPossibleBound) {
    Wire sink;
    Recorder events;
    CountingRandom random;
    Settings settings = settings_for(Mode::master);
    settings.super_segment_bytes = 65535;
    EXPECT_THROW(Stack(settings, sink, events, random), std::invalid_argument);
    settings.transport_checksums = wire::Summing::port;
    EXPECT_NO_THROW(Stack(settings, sink, events, random));
    settings.super_segment_bytes = 65536;
    EXPECT_THROW(Stack(settings, sink, events, random), std::invalid_argument);
}

}  // namespace
}  // namespace understudy::stack::test
