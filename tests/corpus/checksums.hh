// Checksums of captures that were altered after they were taken.
//
// Who publishes a capture often writes other addresses into it and leaves the checksums as they were. All
// sums from one address to another are then off by one and the same number, filled and unfilled ones alike,
// and some recorders leave every sum zero. Such sums are put right here, for the stack to verify: a frame
// that does not fit its conversation's number is left as it is, and is loss to the stack.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <utility>

#include "stack/address.hh"

namespace understudy::corpus {

class ChecksumRepair {
  public:
    // Of every frame of the unaltered capture, tags and tunnels taken off; then settle() once.
    void learn(std::span<const std::byte> frame);
    void settle();
    void apply(std::span<std::byte> frame) const;

  private:
    using Pair = std::pair<stack::IpAddress, stack::IpAddress>;  // source and destination
    struct Evidence {
        std::uint32_t right = 0;  // verified, or unfilled for the addresses that are there
        std::uint32_t zero = 0;
        std::map<std::uint16_t, std::uint32_t> shifts;
        bool is_zero = false;
        std::uint16_t shift = 0;
    };
    std::map<Pair, Evidence> evidence_;
};

}  // namespace understudy::corpus
