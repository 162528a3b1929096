#include "shadow_app/registry.hh"

#include <array>

#include "shadow_app/discard.hh"
#include "shadow_app/echo.hh"
#include "shadow_app/source.hh"
#include "shadow_app/ticker.hh"
#include "shadow_app/udp_echo.hh"

namespace understudy::shadow_app {
namespace {

template <typename Base>
using Factory = std::unique_ptr<Base> (*)();

template <typename Base, typename T>
std::unique_ptr<Base> make() {
    return std::make_unique<T>();
}

constexpr std::array<ApplicationInfo, 4> infos{{
    {"discard", "throws away what it receives (RFC 863)"},
    {"echo", "sends back what it receives (RFC 862)"},
    {"source", "sends as many bytes as each line \"send BYTES STREAM\" asks for"},
    {"ticker", "sends numbered lines on a schedule after \"subscribe INTERVAL_US BYTES\""},
}};
constexpr std::array<Factory<Application>, infos.size()> factories{
    make<Application, Discard>, make<Application, Echo>, make<Application, Source>,
    make<Application, Ticker>};

constexpr std::array<ApplicationInfo, 1> datagram_infos{{
    {"udp-echo", "sends back every datagram (RFC 862)"},
}};
constexpr std::array<Factory<DatagramApplication>, datagram_infos.size()> datagram_factories{
    make<DatagramApplication, UdpEcho>};

template <typename Base>
std::unique_ptr<Base> make_named(std::span<const ApplicationInfo> infos_of,
                                 std::span<const Factory<Base>> factories_of, std::string_view name) {
    for (std::size_t i = 0; i < infos_of.size(); ++i)
        if (infos_of[i].name == name) return factories_of[i]();
    return nullptr;
}

std::string names_of(std::span<const ApplicationInfo> infos_of) {
    std::string names;
    for (const ApplicationInfo& info : infos_of)
        names.append(names.empty() ? "" : ", ").append(info.name);
    return names;
}

}  // namespace

std::span<const ApplicationInfo> applications() {
    return infos;
}

std::unique_ptr<Application> make_application(std::string_view name) {
    return make_named<Application>(infos, factories, name);
}

std::string application_names() {
    return names_of(infos);
}

std::span<const ApplicationInfo> datagram_applications() {
    return datagram_infos;
}

std::unique_ptr<DatagramApplication> make_datagram_application(std::string_view name) {
    return make_named<DatagramApplication>(datagram_infos, datagram_factories, name);
}

std::string datagram_application_names() {
    return names_of(datagram_infos);
}

}  // namespace understudy::shadow_app
