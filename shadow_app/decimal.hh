// Decimal numbers in the lines of our own protocols.
#pragma once

#include <charconv>
#include <string_view>
#include <system_error>

namespace understudy::shadow_app {

// True when all of `text` is one number that fits.
template <typename Number>
bool parse_decimal(std::string_view text, Number& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace understudy::shadow_app
