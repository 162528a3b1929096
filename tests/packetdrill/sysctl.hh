// Names of Linux's net.ipv4.* settings, as scripts set them, given to the stack's own settings.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "stack/settings.hh"

namespace understudy::packetdrill {

class Sysctls {
  public:
    // "net.ipv4.tcp_sack=0", with any space around the equals sign; other text is ignored.
    void set(std::string_view assignment);
    void set(std::string_view name, std::string_view value);
    // Every line of a file of such assignments; the last one of a name counts.
    void read_file(const char* path);
    // Overrides what was set; unknown names are ignored.
    void apply(stack::Settings& settings) const;

    // The n-th number of a setting, or `otherwise`.
    std::int64_t number(std::string_view name, std::int64_t otherwise, unsigned n = 0) const;

  private:
    std::map<std::string, std::string, std::less<>> values_;
};

// The settings of the kernel's network namespace: scripts also write them directly. Only what was changed
// since construction counts, for the kernel's defaults are not the stack's.
class NamespaceSysctls {
  public:
    NamespaceSysctls();
    void add_changes(Sysctls& sysctls) const;

  private:
    std::map<std::string, std::string> at_first_;
};

}  // namespace understudy::packetdrill
