// The link-level addresses of our neighbours: ARP (RFC 826, RFC 1122 2.3.2) and neighbour unreachability
// detection (RFC 4861 7), one cache for both. Keeps no clock and sends nothing: whoever owns it asks what is
// due.
//
// Simplified: reachability is confirmed by solicited answers alone, not by the progress of TCP; nobody enters
// the cache unasked; redirects are ignored.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "stack/counters.hh"
#include "stack/interfaces.hh"
#include "stack/settings.hh"
#include "stack/time.hh"

namespace understudy::stack::ip {

class Neighbours {
  public:
    using Frame = std::vector<std::byte>;

    // Both must outlive this.
    Neighbours(const NeighbourSettings& settings, Counters& counters)
        : settings_(settings), counters_(counters), waiting_(*this) {}

    // Where frames for `hop` go; using it may set off its verification. Nothing while it is not known.
    std::optional<LinkAddress> find(const IpAddress& hop, Instant now);
    // Begins to resolve `hop`, asking from `source`, unless that is under way. A frame that is put into the
    // result waits for the answer, its destination to be filled in; the oldest makes room for it. Valid until
    // the next call.
    FrameSink& resolve(const IpAddress& hop, const IpAddress& source, Instant now);

    struct Word {
        bool solicited = false;  // an answer to us: it is reachable
        bool overrides = true;   // RFC 4861 7.2.5: takes the place of another address
    };
    // A neighbour said where it is. Returns the frames that waited, to be sent.
    std::vector<Frame> learn(const IpAddress& hop, const LinkAddress& link, Word word, Instant now);

    struct Solicitation {
        IpAddress target;
        IpAddress source;
        std::optional<LinkAddress> link;  // that which is to be verified; nothing: ask all
    };
    struct Due {
        std::vector<Solicitation> ask;
        std::vector<Frame> lost;  // frames for neighbours that did not answer
    };
    Due advance(Instant now);
    // Not later than when advance() has work next.
    std::optional<Instant> next_deadline() const;
    std::size_t size() const { return entries_.size(); }

  private:
    enum class State : std::uint8_t { incomplete, reachable, stale, delay, probe };  // RFC 4861 7.3.2
    struct Entry {
        State state = State::incomplete;
        LinkAddress link;
        IpAddress source;
        Instant due = Instant::max();
        Instant confirmed{};
        Instant used{};
        std::uint32_t asked = 0;
        std::deque<Frame> waiting;
    };
    class Waiting final : public FrameSink {
      public:
        explicit Waiting(Neighbours& owner) : owner_(owner) {}
        std::span<std::byte> reserve(std::size_t length) override {
            frame_.assign(length, std::byte{});
            return frame_;
        }
        void commit() override;
        IpAddress hop;

      private:
        Neighbours& owner_;
        Frame frame_;
    };

    void schedule(Entry& entry, Instant due);
    void make_room();

    const NeighbourSettings& settings_;
    Counters& counters_;
    std::map<IpAddress, Entry> entries_;
    Instant next_ = Instant::max();  // not later than any entry's
    Waiting waiting_;
};

}  // namespace understudy::stack::ip
