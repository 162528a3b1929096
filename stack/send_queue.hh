// What one side of a connection sends: written by the application, and while shadowing, seen from the
// primary.
//
//        begin          snd_una        compared                     end
//          |--------------|---------------|---------------------------|
//          acknowledged, not yet compared   from one writer only so far
//
//   app_nxt      the next byte that the application writes
//   primary_nxt  the next in-order byte of the primary
//   end          max(app_nxt, primary_nxt): whoever comes first brings a byte, whoever comes second is
//   compared
//
// A byte is kept until it is acknowledged and, where two writers are expected, until both have shown it.
// Bytes of the primary therefore stay as the primary sent them (design.md 4), and an application that lags
// behind swallows what is already there, before promotion and after it alike.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "stack/byte_queue.hh"
#include "stack/difference.hh"
#include "stack/seq.hh"

namespace understudy::stack {

class SendQueue {
  public:
    struct Written {
        std::uint32_t taken = 0;
        std::optional<Seq> differs_at;         // first byte that is not the other writer's
        Seq differs_to;                        // the end of the last such byte, if there is one
        std::optional<Difference> difference;  // what stands there; its offset is left to the caller
    };

    // Starts the stream at `first`, empty.
    void reset(Seq first);

    Seq begin() const { return begin_; }
    Seq end() const { return max(app_nxt_, primary_nxt_); }
    Seq app_nxt() const { return app_nxt_; }
    Seq primary_nxt() const { return primary_nxt_; }
    // Bytes held.
    std::uint32_t bytes() const { return bytes_.size(); }

    // Takes the application's next bytes, all that make no more than `limit` new bytes wait in the queue.
    // Bytes the primary brought before are compared and swallowed.
    Written write_app(std::span<const std::byte> bytes, std::uint32_t limit);
    // Takes the primary's next bytes in order. Where the application's differ, they take their place.
    Written write_primary(std::span<const std::byte> bytes);
    // The application's stream jumps to `seq` without bytes: the peer has them already, and no copy of them
    // exists. Only when seq >= end().
    void skip_app_to(Seq seq);

    // The application goes on at `seq`, begin() <= seq <= primary_nxt(), whatever it has written; what it
    // alone has written is dropped.
    void move_app_to(Seq seq);
    // What stands around `at`, begin() <= at <= end(), as seen by a writer that has nothing from there on.
    Difference excerpt(Seq at) const;

    // Drops bytes before `una` that have been seen from every writer that is still expected.
    void release(Seq una, bool expect_primary);
    // Copies [from, from + out.size()), which must lie inside [begin(), end()).
    void copy(Seq from, std::span<std::byte> out) const;

  private:
    enum class Writer : std::uint8_t { application, primary };
    Written write(Writer writer, Seq& cursor, std::span<const std::byte> bytes, std::uint32_t room);
    void append(Difference::Excerpt& excerpt, Seq from, std::size_t count) const;

    ByteQueue bytes_;
    Seq begin_;
    Seq app_nxt_;
    Seq primary_nxt_;
};

}  // namespace understudy::stack
