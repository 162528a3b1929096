#include "stack/udp/peer_links.hh"

#include <algorithm>
#include <bit>
#include <cstring>

#include "stack/mix.hh"

namespace understudy::stack::udp {

PeerLinks::PeerLinks(std::uint64_t secret, std::uint32_t max_peers)
    : secret_(secret), set_count_(std::bit_ceil((std::size_t{max_peers} + ways - 1) / ways)) {}

std::size_t PeerLinks::set_of(const IpAddress& peer) const {
    std::array<std::uint64_t, 2> words;
    std::memcpy(words.data(), peer.octets.data(), sizeof words);
    const std::uint64_t first = mix(words[0] ^ secret_, 0x9e3779b97f4a7c15);
    return mix(first ^ words[1], secret_ ^ 0xd1b54a32d192ed03) & (set_count_ - 1);
}

PeerLinks::Entry& PeerLinks::touch(const IpAddress& peer) {
    if (sets_.empty()) sets_.resize(set_count_);
    Set& set = sets_[set_of(peer)];
    const auto is_peer = [&](const Entry& entry) { return entry.used && entry.peer == peer; };
    auto found = std::find_if(set.begin(), set.end(), is_peer);
    if (found == set.end()) {
        found = set.end() - 1;
        *found = {.peer = peer, .link = {}, .used = true};
    }
    std::rotate(set.begin(), found, found + 1);
    return set.front();
}

void PeerLinks::learn(const IpAddress& peer, const LinkAddress& link, Evidence evidence) {
    Entry& entry = touch(peer);
    if (evidence < entry.evidence) return;
    entry.link = link;
    entry.evidence = evidence;
}

std::optional<LinkAddress> PeerLinks::find(const IpAddress& peer) const {
    if (sets_.empty()) return std::nullopt;
    for (const Entry& entry : sets_[set_of(peer)])
        if (entry.used && entry.peer == peer) return entry.link;
    return std::nullopt;
}

}  // namespace understudy::stack::udp
