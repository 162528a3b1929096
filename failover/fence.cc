#include "failover/fence.hh"

#include <utility>

#include <boost/asio/post.hpp>

namespace understudy::failover {

Command::Environment fence_environment(const FenceSettings& settings, const Evidence& evidence,
                                       std::uint32_t attempt) {
    return {{"UNDERSTUDY_EVENT", "fence"},
            {"UNDERSTUDY_CAUSE", to_string(evidence.cause)},
            {"UNDERSTUDY_EVIDENCE", to_string(evidence)},
            {"UNDERSTUDY_ATTEMPT", std::to_string(attempt)},
            {"UNDERSTUDY_SERVICES", settings.services},
            {"UNDERSTUDY_PRIMARY_LINK_ADDRESS", settings.primary_link_address}};
}

Fence::Fence(boost::asio::io_context& io, const FenceSettings& settings, Attempt on_attempt)
    : io_(io), settings_(settings), on_attempt_(std::move(on_attempt)) {}

void Fence::run(const Evidence& evidence, Done done) {
    stop();
    done_ = std::move(done);
    run_ = std::make_shared<char>();
    attempt(evidence, 1);
}

void Fence::stop() {
    run_.reset();
    command_.reset();
    done_ = nullptr;
}

void Fence::attempt(const Evidence& evidence, std::uint32_t number) {
    command_.reset();
    command_.emplace(io_, settings_.command, fence_environment(settings_, evidence, number), settings_.timeout,
                     [this, evidence, number](const CommandResult& result) {
                         on_attempt_(number, result);
                         if (!result.succeeded && number <= settings_.retries)
                             // The command ends itself only once its handler has returned.
                             return boost::asio::post(
                                 io_, [this, run = std::weak_ptr(run_), evidence, number] {
                                     if (!run.expired()) attempt(evidence, number + 1);
                                 });
                         if (auto done = std::exchange(done_, nullptr)) done(result.succeeded);
                     });
}

}  // namespace understudy::failover
