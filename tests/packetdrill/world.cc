#include "tests/packetdrill/world.hh"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "stack/wire/checksum.hh"
#include "stack/wire/ethernet.hh"
#include "stack/wire/ipv4.hh"
#include "stack/wire/tcp.hh"

namespace understudy::packetdrill {
namespace {

using namespace std::chrono_literals;
using stack::LinkAddress;

const LinkAddress own_link{{0x02, 0, 0, 0, 0, 0x02}};
const LinkAddress peer_link{{0x02, 0, 0, 0, 0, 0x0c}};
// An answer leaves after what it answers: packetdrill looks at the clock once more in between.
constexpr Duration wire_delay = 2us;

// packetdrill does not check the TCP checksums of what it sniffs: do it here.
void check_checksum(std::span<const std::byte> packet) {
    stack::wire::IpHeader ip;
    if (stack::wire::parse_ipv4(packet, ip) != stack::wire::IpError::none) return;
    if (ip.protocol != stack::wire::IpProtocol::tcp) return;
    const auto segment = packet.first(ip.total_length).subspan(ip.header_length);
    const auto pseudo = stack::wire::pseudo_header_sum(ip.source, ip.destination, 6,
                                                       static_cast<std::uint32_t>(segment.size()));
    if (stack::wire::checksum_finish(stack::wire::checksum_add(segment, pseudo)) == 0) return;
    std::fputs("understudy: the stack sent a TCP segment with a wrong checksum\n", stderr);
    std::abort();
}

}  // namespace

std::uint64_t World::Random::next() {
    // splitmix64: every run is the same run.
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

World::World(std::string_view flags, stack::ConnectionEvents& events) : events_(events) {
    settings_.link_address = own_link;
    settings_.initial_mode = stack::Mode::master;
    settings_.announce_repeats = {};
    settings_.unknown_grace = 0s;
    settings_.tcp.send_buffer_bytes = 1 << 30;  // SendLedger says what a write may queue
    std::size_t mtu = 0;
    while (!flags.empty()) {
        const std::string_view flag = flags.substr(0, flags.find(','));
        flags.remove_prefix(std::min(flags.size(), flag.size() + 1));
        if (flag.starts_with("local=")) {
            if (const auto address = stack::parse_ip_address(flag.substr(6)))
                settings_.addresses.push_back(*address);
        } else if (flag.starts_with("mtu=")) {
            std::from_chars(flag.data() + 4, flag.data() + flag.size(), mtu);
        } else {
            flags_.set(flag);
        }
    }
    if (settings_.addresses.empty()) settings_.addresses = {stack::IpAddress::from_v4(0xc0a80001)};
    // The public scripts expect the same MSS of both families, and run IPv6 on a link 20 bytes wider.
    const bool v4 = settings_.addresses.front().is_v4();
    settings_.mtu = mtu != 0 ? mtu : v4 ? 1500 : 1520;
    settings_.tcp.mss = static_cast<std::uint16_t>(settings_.mtu - (v4 ? 40 : 60));
}

void World::refresh_sysctls() {
    sysctls_ = flags_;
    if (const char* path = std::getenv("UNDERSTUDY_SYSCTL")) sysctls_.read_file(path);
    namespace_.add_changes(sysctls_);
}

stack::Stack& World::stack() {
    if (stack_ == nullptr) {
        refresh_sysctls();
        sysctls_.apply(settings_);
        stack_ = std::make_unique<stack::Stack>(settings_, *this, events_, random_);
    }
    return *stack_;
}

std::optional<Instant> World::next_deadline() const {
    std::optional<Instant> next;
    if (stack_ != nullptr) next = stack_->next_deadline();
    for (const Waiter& waiter : waiters_)
        if (waiter.deadline && !waiter.woken && (!next || *waiter.deadline < *next)) next = waiter.deadline;
    return next;
}

Instant World::look(Lock& lock) {
    if (std::this_thread::get_id() == main_thread_) {
        run_until(now_ + 1us, lock);
    } else if (awaiting_resume_) {
        awaiting_resume_ = false;
        resumed_.notify_all();
    }
    return now_;
}

void World::run_until(Instant end, Lock& lock) {
    for (auto next = next_deadline(); next && *next <= end; next = next_deadline()) {
        now_ = std::max(now_, *next);
        if (stack_ != nullptr) stack_->advance(now_);
        wake_ready(lock);
    }
    now_ = std::max(now_, end);
}

void World::inject(std::span<const std::byte> packet, Lock& lock) {
    run_until(now_, lock);
    std::vector<std::byte> frame(stack::wire::ethernet_header_length + packet.size());
    const bool v6 = !packet.empty() && (std::to_integer<unsigned>(packet[0]) >> 4) == 6;
    stack::wire::write_ethernet(
        frame, {own_link, peer_link, v6 ? stack::wire::EtherType::ipv6 : stack::wire::EtherType::ipv4});
    std::copy(packet.begin(), packet.end(), frame.begin() + stack::wire::ethernet_header_length);
    const stack::ReceivedFrame received{stack::Source::service, frame,
                                        static_cast<std::uint32_t>(frame.size())};
    stack().receive(std::span(&received, 1), now_);
    wake_ready(lock);
}

std::optional<World::SentPacket> World::next_packet(Duration patience, Lock& lock) {
    const Instant end = now_ + patience;
    while (sent_.empty()) {
        const auto next = next_deadline();
        if (!next || *next > end) return std::nullopt;
        run_until(*next, lock);
    }
    SentPacket packet = std::move(sent_.front());
    sent_.pop_front();
    return packet;
}

bool World::wait(Lock& lock, const std::function<bool()>& ready, std::optional<Instant> deadline) {
    if (std::this_thread::get_id() == main_thread_) {
        while (!ready()) {
            const auto next = next_deadline();
            if (deadline && (!next || *deadline <= *next)) {
                run_until(*deadline, lock);
                return ready();
            }
            if (!next) return false;
            run_until(*next, lock);
        }
        return true;
    }
    if (ready()) return true;
    if (awaiting_resume_) {
        awaiting_resume_ = false;
        resumed_.notify_all();
    }
    waiters_.push_back({&ready, deadline, false});
    const auto self = std::prev(waiters_.end());
    wake_.wait(lock, [&] { return self->woken; });
    waiters_.erase(self);
    return ready();
}

// A call that goes on must have looked at the clock before the clock moves: packetdrill checks when it ended.
void World::wake_ready(Lock& lock) {
    if (after_step) after_step();
    for (Waiter& waiter : waiters_) {
        if (waiter.woken || !((*waiter.ready)() || (waiter.deadline && *waiter.deadline <= now_))) continue;
        waiter.woken = true;
        awaiting_resume_ = true;
        wake_.notify_all();
        resumed_.wait_for(lock, 2s, [&] { return !awaiting_resume_; });
        return;
    }
}

std::span<std::byte> World::reserve(std::size_t length) {
    pending_.assign(length, std::byte{});
    return pending_;
}

void World::commit() {
    const auto link = stack::wire::parse_ethernet(pending_);
    if (!link || (link->type != stack::wire::EtherType::ipv4 && link->type != stack::wire::EtherType::ipv6))
        return;
    SentPacket packet;
    packet.at = now_ + wire_delay;
    packet.bytes.assign(pending_.begin() + stack::wire::ethernet_header_length, pending_.end());
    check_checksum(packet.bytes);
    sent_.push_back(std::move(packet));
}

}  // namespace understudy::packetdrill
