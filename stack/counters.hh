// Plain counters of one stack instance, declared once in counters.def.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace understudy::stack {

struct Counters {
#define COUNTER(name, severity, help) std::uint64_t name = 0;
#include "stack/counters.def"
#undef COUNTER
};

enum class CounterSeverity : std::uint8_t { info, warning, drop };

struct CounterInfo {
    std::string_view name;
    CounterSeverity severity;
    std::string_view help;
    std::uint64_t Counters::*value;
};

// Every counter, in the order of counters.def.
inline constexpr std::array counter_table = {
#define COUNTER(name, severity, help) CounterInfo{#name, CounterSeverity::severity, help, &Counters::name},
#include "stack/counters.def"
#undef COUNTER
};

}  // namespace understudy::stack
