// Lets CLI11 read a TOML file: each key names the long option of the same name.
#pragma once

#include <CLI/CLI.hpp>

namespace understudy::tools {

// A key in a table has the table's name before it, and '_' may stand for '-': in the table [heartbeat],
// interval_ms = 10 is --heartbeat-interval-ms 10. An array gives an option that may be repeated. What the
// command line sets goes before the file; a key that names no option is an error.
class TomlConfig : public CLI::Config {
  public:
    std::string to_config(const CLI::App* app, bool default_also, bool write_description,
                          std::string prefix) const override;
    // Throws CLI::ConfigError with line and column when the input is no TOML.
    std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;
};

}  // namespace understudy::tools
