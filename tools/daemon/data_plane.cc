#include "tools/daemon/data_plane.hh"

#include <algorithm>
#include <stdexcept>

#include "shadow_app/registry.hh"
#include "shadow_app/shim/service.hh"

namespace understudy::tools {
namespace {

template <typename Application>
std::unique_ptr<Application> named(std::unique_ptr<Application> application, const std::string& name,
                                   const std::string& names) {
    if (application == nullptr)
        throw std::invalid_argument("no application is named \"" + name + "\": use one of " + names);
    return application;
}

std::unique_ptr<shadow_app::Application> make_application(const DataPlane::Settings& settings,
                                                          const std::string& name) {
    if (name == shadow_app::shim::application_name) return std::make_unique<shadow_app::shim::Service>();
    return named(
        settings.make_application ? settings.make_application(name) : shadow_app::make_application(name),
        name, shadow_app::application_names());
}

std::unique_ptr<shadow_app::DatagramApplication> make_datagram_application(
    const DataPlane::Settings& settings, const std::string& name) {
    return named(settings.make_datagram_application ? settings.make_datagram_application(name)
                                                    : shadow_app::make_datagram_application(name),
                 name, shadow_app::datagram_application_names());
}

// Services whose input must keep one order.
std::vector<tap::ServiceEndpoint> ordered_services(const DataPlane::Settings& settings) {
    std::vector<tap::ServiceEndpoint> services;
    for (const auto& [endpoint, name] : settings.applications)
        if (make_application(settings, name)->needs_input_order())
            services.push_back({endpoint.address.octets, endpoint.port, tap::Transport::tcp});
    for (const auto& [endpoint, name] : settings.datagram_applications)
        if (make_datagram_application(settings, name)->needs_input_order())
            services.push_back({endpoint.address.octets, endpoint.port, tap::Transport::udp});
    return services;
}

// Each of those on one core; core 0 has enough to do.
tap::FlowSpreadSettings spread_settings(const DataPlane::Settings& settings) {
    tap::FlowSpreadSettings spread{.cores = settings.cores, .pinned = {}};
    if (settings.cores < 2) return spread;
    for (const tap::ServiceEndpoint& service : ordered_services(settings))
        spread.pinned.emplace_back(service, 1 + spread.pinned.size() % (settings.cores - 1));
    return spread;
}

Core::Settings core_settings(const DataPlane::Settings& settings, const tap::Port& service_port,
                             std::size_t taps, const tap::FlowSpread& spread, std::size_t index) {
    Core::Settings core;
    core.index = index;
    core.stack = settings.stack;
    core.stack.udp.taps = static_cast<std::uint8_t>(std::max<std::size_t>(taps, 1));
    const auto cores = static_cast<std::uint32_t>(settings.cores);
    core.stack.max_connections = (settings.stack.max_connections + cores - 1) / cores;
    core.stack.speaks_for_host = index == 0;
    // Frames of every core leave by the one service port.
    if (service_port.offloads().transmit_checksums)
        core.stack.transport_checksums = stack::wire::Summing::port;
    // What goes through core 0 is whole frames.
    core.stack.super_segment_bytes =
        index < service_port.queues()
            ? std::min(settings.stack.super_segment_bytes, service_port.offloads().segmentation_bytes)
            : 0;
    if (settings.cores > 1)
        core.stack.owns_flow = [&spread, index](stack::wire::IpProtocol protocol, const stack::Endpoint& a,
                                                const stack::Endpoint& b) {
            const auto transport =
                protocol == stack::wire::IpProtocol::udp ? tap::Transport::udp : tap::Transport::tcp;
            return spread.core_of({a.address.octets, a.port, transport},
                                  {b.address.octets, b.port, transport}) == index;
        };
    core.classifier = settings.classifier;
    core.wrappings = settings.wrappings;
    for (const auto& [endpoint, name] : settings.applications) {
        auto application = make_application(settings, name);
        core.stack.replication[endpoint].stateful = !application->is_stateless();
        core.applications.emplace_back(endpoint, std::move(application));
    }
    for (const auto& [endpoint, name] : settings.datagram_applications)
        core.datagram_applications.emplace_back(endpoint, make_datagram_application(settings, name));
    core.poll = settings.poll;
    core.max_sleep = settings.max_sleep;
    core.clock = settings.clock;
    return core;
}

}  // namespace

DataPlane::DataPlane(const Settings& settings, std::vector<std::unique_ptr<tap::Port>> taps,
                     std::unique_ptr<tap::Port> service_port)
    : taps_(std::move(taps)),
      service_port_(std::move(service_port)),
      spread_(spread_settings(settings)),
      handover_(settings.cores, settings.ring_bytes),
      takeover_(settings.cores) {
    if (taps_.size() > stack::max_taps)
        throw std::invalid_argument("there are " + std::to_string(taps_.size()) + " taps: at most " +
                                    std::to_string(stack::max_taps) + " can be read");
    for (const auto& tap : taps_)
        if (tap->queues() > tap_queues(settings))
            throw std::invalid_argument(tap->spec() + " has " + std::to_string(tap->queues()) +
                                        " queues: with these cores and applications it must have at most " +
                                        std::to_string(tap_queues(settings)));
    if (service_port_->queues() > settings.cores)
        throw std::invalid_argument(service_port_->spec() + " has more queues than there are cores");
    for (std::size_t i = 0; i < settings.cores; ++i) {
        Core::Queues queues;
        for (std::size_t t = 0; t < taps_.size(); ++t)
            if (i < taps_[t]->queues())
                queues.taps.push_back({&taps_[t]->queue(i), static_cast<std::uint8_t>(t)});
        if (i < service_port_->queues()) queues.service = &service_port_->queue(i);
        for (std::size_t other = service_port_->queues(); i == 0 && other < settings.cores; ++other)
            queues.sends_for.push_back(other);
        cores_.push_back(std::make_unique<Core>(core_settings(settings, *service_port_, taps_.size(), spread_, i),
                                                std::move(queues), spread_, handover_, takeover_));
    }
}

DataPlane::~DataPlane() {
    stop();
}

std::size_t DataPlane::tap_queues(const Settings& settings) {
    return ordered_services(settings).empty() ? settings.cores : 1;
}

void DataPlane::start() {
    for (const auto& core : cores_)
        core->start();
}

void DataPlane::stop() {
    for (const auto& core : cores_)
        core->stop();
}

std::size_t DataPlane::core_of(const stack::Endpoint& service) const {
    return spread_.core_of({service.address.octets, service.port}, {service.address.octets, 0});
}

bool DataPlane::take_over(Takeover::Report report) {
    if (!takeover_.request(std::move(report))) return false;
    for (std::size_t core = 0; core < cores(); ++core)
        handover_.bell(core).ring();
    return true;
}

bool DataPlane::mute(std::function<void()> done) {
    return ask_each<char>(
        [](Core& core) {
            core.mute();
            return '\0';
        },
        [done = std::move(done)](const std::vector<char>&) { done(); });
}

std::optional<stack::Instant> DataPlane::unanswered_since() const {
    std::optional<stack::Instant> oldest;
    for (const auto& core : cores_)
        if (const auto since = core->unanswered_since(); since && (!oldest || *since < *oldest)) oldest = since;
    return oldest;
}

bool DataPlane::client_knows_us() const {
    return std::ranges::any_of(cores_, [](const auto& core) { return core->client_knows_us(); });
}

std::uint64_t DataPlane::primary_news() const {
    std::uint64_t news = 0;
    for (const auto& core : cores_)
        news += core->primary_news();
    return news;
}

std::optional<stack::Instant> DataPlane::newest_from_primary() const {
    std::optional<stack::Instant> newest;
    for (const auto& core : cores_)
        newest = std::max(newest, core->newest_from_primary());
    return newest;
}

stack::Instant DataPlane::taps_read_until() const {
    auto until = stack::Instant::max();
    for (const auto& core : cores_)
        if (core->has_taps()) until = std::min(until, core->taps_read_until());
    return until;
}

std::optional<stack::SeedRecord> DataPlane::next_seed() {
    for (const auto& core : cores_)
        if (auto seed = core->next_seed()) return seed;
    return std::nullopt;
}

}  // namespace understudy::tools
