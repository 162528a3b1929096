// Where frames to a client go, as its own frames and the primary's show it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "stack/address.hh"

namespace understudy::stack::udp {

// How a link-level address became known, the weakest first: what is known better stays.
enum class Evidence : std::uint8_t {
    mirrored_peer,  // the peer's own frames on the mirror; another router may lead back to it
    primary,        // the primary sent to the peer that way
    peer,           // the peer's frames came to us from there
};

// Bounded: the least recently seen of a set makes room. Whoever falls out is learned again with its next
// frame.
class PeerLinks {
  public:
    // `secret` keys the hash. Room for about `max_peers` addresses; memory is taken with the first.
    PeerLinks(std::uint64_t secret, std::uint32_t max_peers);

    void learn(const IpAddress& peer, const LinkAddress& link, Evidence evidence);
    std::optional<LinkAddress> find(const IpAddress& peer) const;

  private:
    static constexpr std::size_t ways = 4;

    struct Entry {
        IpAddress peer;
        LinkAddress link;
        bool used = false;
        Evidence evidence = Evidence::mirrored_peer;
    };
    using Set = std::array<Entry, ways>;  // the most recently seen first

    Entry& touch(const IpAddress& peer);
    std::size_t set_of(const IpAddress& peer) const;

    const std::uint64_t secret_;
    const std::size_t set_count_;
    std::vector<Set> sets_;
};

}  // namespace understudy::stack::udp
