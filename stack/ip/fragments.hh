// Packets put together from their fragments (RFC 791 3.2, RFC 815, RFC 8200 4.5), within bounds.
//
// Pieces that overlap end their packet, whatever the IP version (RFC 5722): nobody fragments so, and which
// copy of a byte counts would be a guess. A piece that came twice, byte for byte, is a duplicate.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <vector>

#include "stack/counters.hh"
#include "stack/ingress.hh"
#include "stack/interfaces.hh"
#include "stack/settings.hh"
#include "stack/time.hh"

namespace understudy::stack::ip {

class Fragments {
  public:
    // Both must outlive this.
    Fragments(const FragmentSettings& settings, Counters& counters)
        : settings_(settings), counters_(counters) {}

    // Takes a fragment. When it was the last that was missing, returns the whole packet, whose payload stays
    // valid until release(); its link-level header is that of the first fragment. What the tap showed and
    // what came by the service port are never mixed.
    std::optional<IpPacket> take(const IpPacket& fragment, Source source, Instant now);
    // What take() has returned is no longer used.
    void release() { done_.clear(); }
    // Forgets packets whose pieces did not come together in time.
    void expire(Instant now);
    std::optional<Instant> next_deadline() const;
    // Held now; at most FragmentSettings::budget_bytes.
    std::uint64_t bytes() const { return bytes_; }
    std::size_t size() const { return order_.size(); }

    // What a piece costs besides its bytes, about.
    static constexpr std::uint64_t piece_overhead_bytes = 64;

  private:
    struct Key {
        Source source;
        IpAddress from;
        IpAddress to;
        std::uint32_t identification;
        std::uint8_t protocol;  // IPv4
        friend auto operator<=>(const Key&, const Key&) = default;
    };
    struct Piece {
        std::uint32_t begin;
        std::vector<std::byte> bytes;
        std::uint32_t end() const { return begin + static_cast<std::uint32_t>(bytes.size()); }
    };
    struct Unfinished {
        Key key;
        Instant began{};
        std::optional<IpPacket> first;  // the piece at offset 0, without its payload
        std::vector<Piece> pieces;      // disjoint, in order
        std::uint32_t have = 0;
        std::optional<std::uint32_t> end;  // known from the last piece
        std::uint8_t congestion = 0;       // a bit for each ECN field seen
        bool refused = false;              // whatever still comes of it is dropped
    };
    using Entry = std::list<Unfinished>::iterator;  // the oldest first

    Entry find_or_begin(const Key& key, Instant now);
    // Adds the piece; false when the packet can come to nothing any more.
    bool add(Unfinished& packet, const IpPacket& fragment);
    bool make_room(const Unfinished& keep, std::uint64_t bytes);
    void refuse(Unfinished& packet);
    void drop(Entry entry);
    std::optional<IpPacket> finish(Entry entry);

    const FragmentSettings& settings_;
    Counters& counters_;
    std::list<Unfinished> order_;
    std::map<Key, Entry> index_;
    std::uint64_t bytes_ = 0;
    std::vector<std::vector<std::byte>> done_;
};

}  // namespace understudy::stack::ip
