// The data plane: one core, or several that share the ports and divide the flows among them.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/daemon/core.hh"

namespace understudy::tools {

class DataPlane {
  public:
    using MakeApplication = std::function<std::unique_ptr<shadow_app::Application>(std::string_view)>;
    using MakeDatagramApplication =
        std::function<std::unique_ptr<shadow_app::DatagramApplication>(std::string_view)>;

    struct Settings {
        std::size_t cores = 1;  // 1 to tap::FlowSpread::max_cores
        // Of each ring between two cores.
        std::size_t ring_bytes = 2 << 20;
        stack::Settings stack;  // max_connections is divided among the cores
        tap::ClassifierSettings classifier;
        tap::Wrappings wrappings = tap::Wrappings::tags();
        std::vector<std::pair<stack::Endpoint, std::string>> applications;  // service → application name
        std::vector<std::pair<stack::Endpoint, std::string>> datagram_applications;  // of UDP services
        // Null for a name that they do not know; by default those of shadow_app/registry.hh.
        MakeApplication make_application;
        MakeDatagramApplication make_datagram_application;
        PollMode poll = PollMode::adaptive;
        std::chrono::microseconds max_sleep{500};
        Core::Clock clock = stack_now;
    };

    // Takes the ports over. Throws std::invalid_argument with one clear line for settings that cannot work.
    DataPlane(const Settings& settings, std::vector<std::unique_ptr<tap::Port>> taps,
              std::unique_ptr<tap::Port> service_port);
    ~DataPlane();
    DataPlane(const DataPlane&) = delete;
    DataPlane& operator=(const DataPlane&) = delete;

    // How many queues the taps should have for these cores: one, where an application needs its input in one
    // order (rules.md 2), for what came by different queues has none.
    static std::size_t tap_queues(const Settings& settings);

    // Control thread's side.

    void start();
    // Stops the loops and joins their threads. The ports stay open until destruction.
    void stop();
    std::size_t cores() const { return cores_.size(); }
    // Runs `task` on a core between two bursts. False when that core does not keep up.
    bool run(std::size_t core, Core::Task task) { return cores_[core]->run(std::move(task)); }
    // Asks every core, and hands the answers on, by core, on the thread of the last to answer. False when a
    // core does not keep up: `done` is not called then.
    template <typename Answer>
    bool ask_each(std::function<Answer(Core&)> ask, std::function<void(std::vector<Answer>)> done);
    // Takes over with every core; once. `report` is called on the thread of the last core to finish. False
    // after the first call.
    bool take_over(Takeover::Report report);
    // When the newest frame of the primary was read from a tap; nothing: none so far.
    std::optional<stack::Instant> newest_from_primary() const;
    // Until when all that arrived on the taps was read.
    stack::Instant taps_read_until() const;
    // The next seed that a core reported; nothing: none waits. One consumer.
    std::optional<stack::SeedRecord> next_seed();

    // Core 0's side, to which the ports belong: for its tasks alone.

    const std::vector<std::unique_ptr<tap::Port>>& taps() const { return taps_; }
    const tap::Port& service_port() const { return *service_port_; }

    // For what does not change, and for whoever turns the cores by hand.
    Core& core(std::size_t index) { return *cores_[index]; }

  private:
    std::vector<std::unique_ptr<tap::Port>> taps_;
    std::unique_ptr<tap::Port> service_port_;
    tap::FlowSpread spread_;
    Handover handover_;
    Takeover takeover_;
    std::vector<std::unique_ptr<Core>> cores_;
};

template <typename Answer>
bool DataPlane::ask_each(std::function<Answer(Core&)> ask,
                         std::function<void(std::vector<Answer>)> done) {
    struct Round {
        std::function<Answer(Core&)> ask;
        std::function<void(std::vector<Answer>)> done;
        std::vector<Answer> answers;
        std::atomic<std::size_t> missing;
    };
    const auto round = std::make_shared<Round>();
    round->ask = std::move(ask);
    round->done = std::move(done);
    round->answers.resize(cores());
    round->missing = cores();
    bool all = true;
    for (std::size_t i = 0; i < cores(); ++i)
        all = run(i,
                  [round](Core& core) {
                      round->answers[core.index()] = round->ask(core);
                      if (round->missing.fetch_sub(1, std::memory_order_acq_rel) == 1)
                          round->done(std::move(round->answers));
                  }) &&
              all;
    return all;
}

}  // namespace understudy::tools
