// Bytes that arrived before an earlier one (RFC 9293 3.10.7.4, seventh).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "stack/seq.hh"
#include "stack/wire/tcp.hh"

namespace understudy::stack {

// Ranges of a sequence space beyond its in-order edge, each with its bytes; disjoint, never adjacent, in
// order. The first copy of a byte stays: a later one cannot change what was seen.
class Reassembly {
  public:
    // What a range costs besides its bytes, about.
    static constexpr std::uint32_t range_overhead_bytes = 64;

    Reassembly() = default;
    ~Reassembly() { charge(0); }
    Reassembly(const Reassembly&) = delete;
    Reassembly& operator=(const Reassembly&) = delete;

    // From now on the memory that the ranges hold is added to `total`, which outlives them.
    void count_in(std::uint64_t& total);

    bool empty() const { return ranges_.empty(); }
    std::uint32_t bytes() const { return bytes_; }
    std::size_t range_count() const { return ranges_.size(); }

    // Adds the bytes that start at `begin`. False, and nothing is added, when they would make more than
    // `byte_limit` bytes or more than `range_limit` ranges wait.
    bool insert(Seq begin, std::span<const std::byte> bytes, std::uint32_t byte_limit,
                std::size_t range_limit);

    // Drops what lies before `edge`; then, if bytes begin exactly at `edge`, returns them, else nothing. They
    // stay valid until the next call; take them with pop_front.
    std::span<const std::byte> front_at(Seq edge);
    void pop_front();

    // The end of the last range; only while not empty.
    Seq highest() const;
    // The waiting ranges as SACK blocks, those that grew last first (RFC 2018 4), as many as `out` takes.
    std::size_t sack_blocks(std::span<wire::SeqRange> out) const;
    // The parts of `range` that do not wait, in order, as many as `out` takes. Returns how many.
    std::size_t gaps(wire::SeqRange range, std::span<wire::SeqRange> out) const;
    // The first part of [begin, end) that waits already.
    std::optional<wire::SeqRange> overlap(Seq begin, Seq end) const;

  private:
    void charge(std::uint64_t held);
    void charge() { charge(bytes_ + std::uint64_t{range_overhead_bytes} * ranges_.size()); }

    struct Range {
        Seq begin;
        std::vector<std::byte> bytes;
        std::uint32_t grown = 0;  // when, in insertions
        Seq end() const { return begin + static_cast<std::uint32_t>(bytes.size()); }
    };

    std::vector<Range> ranges_;
    std::uint32_t bytes_ = 0;
    std::uint64_t charged_ = 0;
    std::uint64_t* total_ = nullptr;
    std::uint32_t insertions_ = 0;
};

}  // namespace understudy::stack
