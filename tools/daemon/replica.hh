// The replica's control thread: heartbeats, the decision, the takeover's order, the operator's requests.
#pragma once

#include <memory>
#include <optional>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "failover/fence.hh"
#include "failover/heartbeat_service.hh"
#include "failover/link_probe.hh"
#include "failover/watcher.hh"
#include "proto/recording.hh"
#include "tools/common/event_log.hh"
#include "tools/control/server.hh"
#include "tools/daemon/attestations.hh"
#include "tools/daemon/config.hh"
#include "tools/daemon/data_plane.hh"
#include "tools/daemon/metrics.hh"
#include "tools/daemon/repairer.hh"
#include "tools/daemon/shim_channel.hh"

namespace understudy::tools {

class Replica final : public ControlHandler {
  public:
    // Opens ports, sockets and files. Throws with one clear line. `io` and `events` must outlive it.
    Replica(boost::asio::io_context& io, const DaemonConfig& config, EventLog& events);
    ~Replica() override;

    // Starts the data plane, then the heartbeats and the watch.
    void start();
    // Stops both; the recording is whole on disk afterwards.
    void stop();

    void handle(const proto::v1::ControlRequest& request, Completion done) override;

  private:
    void open_probe();
    void open_witness();
    void send_probes();
    failover::Instant read_links();
    failover::Watcher::Tap look_at_tap() const;
    void on_action(const failover::Action& action);
    void probe_service_addresses(int more);
    void begin_fence(const failover::Evidence& evidence);
    void begin_takeover(const failover::Evidence& evidence);
    void begin_mute(const failover::Evidence& evidence);
    void reassert(const failover::Evidence& evidence);
    void on_agent_word(const failover::AgentWord& word, failover::Instant at);
    std::string why_no_switchover() const;
    void ask_settled();
    void report_takeover(const TakeoverRecord& record, failover::Instant decided_at,
                         const std::string& evidence);
    void schedule_seed_writing();
    void write_seeds();
    void report_conflicts();
    void answer_takeover(const std::function<std::optional<std::string>()>& ask, Completion done);
    void answer_demote(Completion done);
    void answer_maintenance(bool on, const Completion& done);
    void refuse_waiting_promotions(const std::string& why);
    void answer_connections(const proto::v1::ConnectionsRequest& request, const Completion& done);
    template <typename Part>
    void ask_cores(std::function<Part(const Core&)> ask,
                   std::function<proto::v1::ControlResponse(const std::vector<Part>&)> join,
                   const Completion& done);
    void add_control_status(proto::v1::StatusResponse& status) const;

    boost::asio::io_context& io_;
    DaemonConfig config_;
    EventLog& events_;
    std::optional<proto::RecordingWriter> recording_;
    std::unique_ptr<DataPlane> plane_;
    std::unique_ptr<Attestations> attestations_;
    std::unique_ptr<failover::LinkProbe> probe_;  // nothing: not wanted, or not permitted
    std::unique_ptr<failover::LinkProbe> witness_;  // nothing: none is named
    std::unique_ptr<failover::HeartbeatService> heartbeats_;
    std::unique_ptr<HeartbeatKeyReload> key_reload_;
    std::unique_ptr<Repairer> repairer_;  // nothing: not wanted
    std::unique_ptr<ShimChannel> shim_;  // nothing: no service has a program of its own
    std::unique_ptr<failover::Fence> fence_;  // nothing: none is configured
    std::unique_ptr<failover::Watcher> watcher_;
    std::unique_ptr<ControlServer> control_;
    std::unique_ptr<Metrics> metrics_;  // nothing: not wanted
    boost::asio::steady_timer seed_timer_;
    boost::asio::steady_timer address_probe_timer_;
    std::vector<std::string> interfaces_;  // whose carrier proves our connectivity
    failover::Instant started_at_;
    failover::State mode_ = failover::State::silent;
    failover::Instant mode_since_;
    std::string last_evidence_;
    bool taken_over_ = false;  // the cores reported the promotion
    std::optional<failover::AgentWord> agent_;
    bool muting_ = false;
    std::optional<failover::Evidence> takeover_after_mute_;
    std::vector<Completion> waiting_promotions_;
    std::vector<Completion> waiting_demotions_;
};

}  // namespace understudy::tools
