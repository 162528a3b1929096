#include "shadow_app/registry.hh"

#include <array>

#include "shadow_app/discard.hh"
#include "shadow_app/echo.hh"
#include "shadow_app/ticker.hh"

namespace understudy::shadow_app {
namespace {

using Factory = std::unique_ptr<Application> (*)();

template <typename T>
std::unique_ptr<Application> make() {
    return std::make_unique<T>();
}

constexpr std::array<ApplicationInfo, 3> infos{{
    {"discard", "throws away what it receives (RFC 863)"},
    {"echo", "sends back what it receives (RFC 862)"},
    {"ticker", "sends numbered lines on a schedule after \"subscribe INTERVAL_US BYTES\""},
}};
constexpr std::array<Factory, infos.size()> factories{make<Discard>, make<Echo>, make<Ticker>};

}  // namespace

std::span<const ApplicationInfo> applications() {
    return infos;
}

std::unique_ptr<Application> make_application(std::string_view name) {
    for (std::size_t i = 0; i < infos.size(); ++i)
        if (infos[i].name == name) return factories[i]();
    return nullptr;
}

std::string application_names() {
    std::string names;
    for (const ApplicationInfo& info : infos)
        names.append(names.empty() ? "" : ", ").append(info.name);
    return names;
}

}  // namespace understudy::shadow_app
