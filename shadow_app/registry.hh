// The applications that come with Understudy, by name.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "shadow_app/application.hh"
#include "shadow_app/datagram_application.hh"

namespace understudy::shadow_app {

struct ApplicationInfo {
    std::string_view name;
    std::string_view help;  // one line
};

// All that serve connections, in alphabetical order.
std::span<const ApplicationInfo> applications();
// A new application object, or null for a name that is not in applications().
std::unique_ptr<Application> make_application(std::string_view name);
// "discard, echo, source, ticker": for error messages.
std::string application_names();

// The same of those that serve datagrams. No name is in both lists.
std::span<const ApplicationInfo> datagram_applications();
std::unique_ptr<DatagramApplication> make_datagram_application(std::string_view name);
std::string datagram_application_names();

}  // namespace understudy::shadow_app
