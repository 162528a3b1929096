// Where the application's writes end within what it sends: positions at which a burst or a segment ends.
#pragma once

#include <cstdint>
#include <deque>

#include "stack/seq.hh"

namespace understudy::stack {

// What the end of a write means for the segments that carry it.
enum class WriteEnd : std::uint8_t {
    none,    // later bytes may share a segment with the last of these
    burst,   // segments sent together end here
    push,    // and the receiver is asked to push (RFC 9293 3.9.1.2)
    record,  // no segment holds bytes from both sides, sent again or not (MSG_EOR)
    urgent,  // everything before is urgent (RFC 9293 3.8.5, MSG_OOB), and is pushed
};

class SendMarks {
  public:
    // Positions only rise. As many as there are writes that wait to be sent.
    void add(Seq at, WriteEnd what) {
        if (!marks_.empty() && marks_.back().at == at) marks_.pop_back();
        marks_.push_back({at, what});
    }
    bool empty() const { return marks_.empty(); }
    // What ends at `at`.
    WriteEnd at(Seq at) const {
        for (const Mark& mark : marks_) {
            if (mark.at == at) return mark.what;
            if (mark.at > at) break;
        }
        return WriteEnd::none;
    }
    // The first end of a record after `from`, or `otherwise`.
    Seq record_after(Seq from, Seq otherwise) const {
        for (const Mark& mark : marks_)
            if (mark.what == WriteEnd::record && mark.at > from) return min(mark.at, otherwise);
        return otherwise;
    }
    // All before and at `seq` was sent.
    void drop_through(Seq seq) {
        while (!marks_.empty() && marks_.front().at <= seq)
            marks_.pop_front();
    }

  private:
    struct Mark {
        Seq at;
        WriteEnd what = WriteEnd::none;
    };
    std::deque<Mark> marks_;
};

}  // namespace understudy::stack
