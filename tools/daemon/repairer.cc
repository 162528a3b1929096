#include "tools/daemon/repairer.hh"

#include <string>
#include <utility>

#include <boost/asio/post.hpp>

namespace understudy::tools {
namespace {

constexpr std::chrono::milliseconds look_interval{1};
// Younger gaps are left to the mirror: its two directions may be out of step.
constexpr std::chrono::milliseconds least_age{2};
// Ranges that a core tells at once.
constexpr std::size_t most_ranges = 128;

failover::RepairEndpoint repair_endpoint(const stack::Endpoint& endpoint) {
    return {endpoint.address.octets, endpoint.port};
}

}  // namespace

Repairer::Repairer(boost::asio::io_context& io, DataPlane& plane, failover::HeartbeatService& heartbeats,
                   std::uint64_t first_id)
    : io_(io),
      plane_(plane),
      timer_(io),
      source_(heartbeats, first_id, [this](const failover::RepairPiece& piece) { inject(piece); }),
      core_is_asked_(plane.cores()) {}

void Repairer::start() {
    timer_.expires_after(look_interval);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (error) return;
        look();
        start();
    });
}

void Repairer::stop() {
    timer_.cancel();
}

void Repairer::look() {
    for (std::size_t i = 0; i < plane_.cores(); ++i) {
        if (core_is_asked_[i] || !plane_.core(i).lacks_bytes()) continue;
        core_is_asked_[i] = plane_.run(i, [this, i](Core& core) {
            std::vector<stack::MissingBytes> missing(most_ranges);
            missing.resize(core.missing(missing, least_age));
            boost::asio::post(io_, [this, i, missing = std::move(missing)] {
                core_is_asked_[i] = false;
                ask(i, missing);
            });
        });
    }
}

void Repairer::ask(std::size_t core, const std::vector<stack::MissingBytes>& missing) {
    const failover::Instant now = failover::monotonic_now();
    for (const stack::MissingBytes& range : missing)
        source_.ask({repair_endpoint(range.client), repair_endpoint(range.service),
                     range.direction == stack::Direction::from_primary, range.begin, range.end},
                    {static_cast<std::uint32_t>(core), range.connection.index, range.connection.generation},
                    now);
}

void Repairer::inject(const failover::RepairPiece& piece) {
    const auto [index, slot, generation] = piece.owner;
    stack::RepairBytes repair;
    repair.connection = {slot, generation};
    repair.direction = piece.from_primary ? stack::Direction::from_primary : stack::Direction::from_client;
    repair.begin = piece.begin;
    repair.fin = piece.fin;
    const bool queued = plane_.run(index, [repair, bytes = std::string(piece.bytes)](Core& core) mutable {
        repair.bytes = std::as_bytes(std::span(bytes));
        core.repair(repair);
    });
    if (!queued) ++answers_lost_;
}

void Repairer::add_counters(proto::v1::CountersResponse& counters) const {
    const auto add = [&counters](const std::string& name, std::uint64_t value, const char* help) {
        auto& counter = *counters.add_counters();
        counter.set_name("repair." + name);
        counter.set_value(value);
        counter.set_help(help);
    };
    for (const auto& info : failover::repair_asker_counter_table())
        add(info.name, source_.counters().*info.value, info.help);
    add("answers_lost", answers_lost_, "pieces lost because a core took no more tasks");
}

}  // namespace understudy::tools
