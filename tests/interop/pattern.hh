// The bytes of a transfer: any of them can be told from its offset, and none from its neighbours in another
// segment. kernel_peer.py makes the same ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace understudy::interop {

class Pattern {
  public:
    explicit Pattern(std::uint64_t key) : key_(key) {}

    void fill(std::uint64_t offset, std::span<std::byte> bytes) const;
    // The offset in the stream of the first of `bytes` that differs, if one does.
    std::optional<std::uint64_t> first_difference(std::uint64_t offset,
                                                  std::span<const std::byte> bytes) const;

  private:
    // The longest run of the pattern from `offset` on that lies together.
    std::span<const std::byte> run_at(std::uint64_t offset) const;

    std::uint64_t key_;
};

}  // namespace understudy::interop
