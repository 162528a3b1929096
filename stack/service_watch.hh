// What speaks for and against whoever serves: requests that the primary leaves unanswered (rules.md 13 c), and
// after a takeover, news from the primary and clients that know us (rules.md 19).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "stack/seq.hh"
#include "stack/time.hh"

namespace understudy::stack {

class ServiceWatch {
  public:
    // Silent.

    // The application has written beyond what the primary was seen to send.
    void application_ahead(Instant now) {
        if (!unanswered_since_) unanswered_since_ = now;
    }
    // A new byte of the primary's service: it lives.
    void primary_answered() { unanswered_since_.reset(); }
    // The oldest answer of the application since then that the primary has not given.
    std::optional<Instant> unanswered_since() const { return unanswered_since_; }

    // Master.

    // Connection `index` goes on; `primary_end` is the end of all that the primary was seen to send.
    void promoted(std::uint32_t index, Seq primary_end) {
        if (index >= primary_end_.size()) primary_end_.resize(index + 1);
        primary_end_[index] = primary_end;
    }
    // A client of a connection that was promoted, or opened since, acknowledges up to `ack`.
    void client_acknowledged(std::uint32_t index, bool was_promoted, Seq iss, Seq ack) {
        const bool known = was_promoted && index < primary_end_.size();
        if (ack > (known ? primary_end_[index] : iss + 1)) client_knows_us_ = true;
    }
    // A mirrored segment of the primary, with data or an end, up to `end`.
    void primary_spoke(std::uint32_t index, bool was_promoted, Seq end) {
        if (!was_promoted || index >= primary_end_.size() || end > primary_end_[index]) ++primary_news_;
    }
    // Something of the primary's service that belongs to no connection of ours: a new one, or a RST.
    void primary_spoke() { ++primary_news_; }

    bool client_knows_us() const { return client_knows_us_; }
    std::uint64_t primary_news() const { return primary_news_; }

    void reset() { *this = ServiceWatch(); }

  private:
    std::optional<Instant> unanswered_since_;
    bool client_knows_us_ = false;
    std::uint64_t primary_news_ = 0;
    std::vector<Seq> primary_end_;  // by connection
};

}  // namespace understudy::stack
