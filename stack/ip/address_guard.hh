// Our addresses against others who claim them (RFC 5227 2.4; IPv6: RFC 4862 5.4.4 leaves it open).
//
// A master never gives an address up: it answers a claim with an announcement, at most one in each
// defend interval, lest two hosts that both insist flood the link, and tells whoever runs it as often.
#pragma once

#include <vector>

#include "stack/time.hh"

namespace understudy::stack::ip {

class AddressGuard {
  public:
    AddressGuard(std::size_t addresses, Duration defend_interval)
        : last_defence_(addresses, never_defended), interval_(defend_interval) {}

    // Somebody else claims address `index`. True when it is to be defended, and reported.
    bool claimed(std::size_t index, Instant now) {
        Instant& last = last_defence_[index];
        if (last != never_defended && now < last + interval_) return false;
        last = now;
        return true;
    }

  private:
    static constexpr Instant never_defended = Instant::min();

    std::vector<Instant> last_defence_;
    Duration interval_;
};

}  // namespace understudy::stack::ip
