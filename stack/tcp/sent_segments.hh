// The segments of one connection that are sent and not acknowledged, one record each: the scoreboard of RFC
// 6675 3, and the transmission times of RFC 8985 5.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "stack/seq.hh"
#include "stack/time.hh"

namespace understudy::stack::tcp {

struct SentSegment {
    Seq begin;
    Seq end;                   // a FIN counts
    Instant sent_at;           // the latest transmission
    bool pushed = false;       // carries PSH, for a write ends here
    bool joins = false;        // left in one burst with the segment before it
    bool ends_record = false;  // is not to be merged with the next
    bool sacked = false;
    bool lost = false;
    bool resent = false;       // a retransmission is on its way
    bool ever_resent = false;  // its acknowledgement gives no round trip (RFC 6298 3)

    std::uint32_t length() const { return distance(begin, end); }
};

// In sequence order, without gaps. Counts are in segments, as Linux counts them.
class SentSegments {
  public:
    bool empty() const { return size() == 0; }
    std::uint32_t size() const { return static_cast<std::uint32_t>(segments_.size() - head_); }
    const SentSegment& operator[](std::uint32_t i) const { return segments_[head_ + i]; }
    const SentSegment& front() const { return segments_[head_]; }
    const SentSegment& back() const { return segments_.back(); }
    // The first segment that ends after `seq`; size() when there is none.
    std::uint32_t find(Seq seq) const;

    struct Kind {
        bool pushed = false;
        bool joins = false;
        bool ends_record = false;
    };
    void push(Seq begin, Seq end, Instant now, Kind kind);
    void pop_front();
    // The peer has acknowledged a part of the first segment.
    void trim_front(Seq una);
    // Cuts segment `i` in two at `at`, which lies inside it.
    void split(std::uint32_t i, Seq at);
    // Makes segment `i` and the next one; neither may be SACKed.
    void merge_with_next(std::uint32_t i);
    void clear();

    void mark_sacked(std::uint32_t i);
    // Lost, and so is its retransmission if there was one.
    void mark_lost(std::uint32_t i);
    void mark_resent(std::uint32_t i, Instant now);
    // Sent again without being counted as on its way twice: a tail loss probe.
    void mark_probed(std::uint32_t i, Instant now);
    // Nothing is lost after all (RFC 3522, RFC 5682).
    void unmark_lost();
    // The peer has thrown away what it had reported (RFC 2018 8).
    void forget_sacks();

    std::uint32_t sacked() const { return sacked_; }
    std::uint32_t lost() const { return lost_; }
    std::uint32_t resent() const { return resent_; }
    // Whether a lost segment waits for its retransmission.
    bool has_lost_unsent() const { return lost_unsent_ != 0; }
    // The capacity that a record keeps when it is put aside.
    void shrink();

  private:
    void count(const SentSegment& segment, std::uint32_t by);
    template <class Change>
    void change(std::uint32_t i, Change&& what);

    std::vector<SentSegment> segments_;
    std::size_t head_ = 0;
    std::uint32_t sacked_ = 0;
    std::uint32_t lost_ = 0;
    std::uint32_t resent_ = 0;
    std::uint32_t lost_unsent_ = 0;
};

}  // namespace understudy::stack::tcp
