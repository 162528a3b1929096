#include "stack/udp/tap_copies.hh"

#include <algorithm>
#include <cstring>

#include "stack/mix.hh"

namespace understudy::stack::udp {

TapCopies::TapCopies(const UdpSettings& settings, std::uint64_t secret)
    : taps_(settings.taps),
      skew_(settings.tap_skew),
      max_entries_(settings.max_tap_copies),
      secret_(secret) {}

TapCopies::Verdict TapCopies::judge(const Datagram& datagram, Instant now, std::uint64_t& forgotten) {
    if (taps_ < 2 || datagram.tap >= taps_) return Verdict::fresh;
    while (!order_.empty() && shown_.find(order_.front())->second.since + skew_ <= now)
        forget_oldest();
    const std::uint64_t key = digest(datagram);
    auto found = shown_.find(key);
    if (found == shown_.end()) {
        if (order_.size() >= max_entries_) {
            forget_oldest();
            ++forgotten;
        }
        found = shown_.emplace(key, Shown{.since = now}).first;
        order_.push_back(key);
    }
    Shown& shown = found->second;
    if (++shown.times[datagram.tap] <= shown.most) return Verdict::copy;
    shown.most = shown.times[datagram.tap];
    return Verdict::fresh;
}

// Everything that both copies have in common: what a router or switch between the taps changes is left out.
std::uint64_t TapCopies::digest(const Datagram& datagram) const {
    const std::uint64_t fixed = secret_ ^ 0xd1b54a32d192ed03;
    std::uint64_t state = mix(secret_ ^ datagram.payload.size(), 0x9e3779b97f4a7c15);
    const auto add = [&](wire::Bytes bytes) {
        while (!bytes.empty()) {
            std::uint64_t word = 0;
            const std::size_t length = std::min(bytes.size(), sizeof word);
            std::memcpy(&word, bytes.data(), length);
            state = mix(state ^ word, fixed);
            bytes = bytes.subspan(length);
        }
    };
    add(std::as_bytes(std::span(datagram.local.address.octets)));
    add(std::as_bytes(std::span(datagram.remote.address.octets)));
    const bool from_primary = datagram.source == Source::tap_from_primary;
    state =
        mix(state ^ (std::uint64_t{datagram.local.port} << 48 | std::uint64_t{datagram.remote.port} << 32 |
                     std::uint64_t{datagram.identification} << 1 | (from_primary ? 1 : 0)),
            fixed);
    add(datagram.payload);
    return state;
}

void TapCopies::forget_oldest() {
    shown_.erase(order_.front());
    order_.pop_front();
}

}  // namespace understudy::stack::udp
