// Memory that one owner holds, counted in a total over all owners.
#pragma once

#include <cstdint>

namespace understudy::stack {

class Charge {
  public:
    Charge() = default;
    ~Charge() { set(0); }
    Charge(const Charge&) = delete;
    Charge& operator=(const Charge&) = delete;

    // The total, which must outlive this; the same at every call.
    void count_in(std::uint64_t& total) { total_ = &total; }
    // What is held from now on, in bytes.
    void set(std::uint64_t held) {
        if (total_ != nullptr) *total_ += held - held_;
        held_ = held;
    }

  private:
    std::uint64_t* total_ = nullptr;
    std::uint64_t held_ = 0;
};

}  // namespace understudy::stack
