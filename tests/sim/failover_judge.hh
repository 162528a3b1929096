// What must hold of two hosts, whatever happens between them. The judge sees everything, and believes no counter.
#pragma once

#include <functional>
#include <string>

#include "tests/sim/failover_primary.hh"
#include "tests/sim/failover_replica.hh"
#include "tests/sim/failover_scenario.hh"

namespace understudy::sim {

class FailoverJudge {
  public:
    using Accuse = std::function<void(const std::string& oracle, const std::string& what)>;
    FailoverJudge(EventQueue& queue, const FailoverScenario& scenario, const FailoverPrimary& primary,
                  const FailoverReplica& replica, Accuse accuse);

    // What reached the replica's host, read or not.
    void heard_on_link(std::size_t link, bool answers_probe);
    void heard_on_tap(const FailoverFrame& frame);
    void heard_on_lan() { last_on_lan_ = queue_.now(); }
    // The replica looks at links and tap, before it concludes.
    void looks() { looked_at_ = queue_.now(); }
    void acted(const failover::Action& action);
    void client_heard(std::size_t client, FailoverHost host, Instant sent);
    // Every other millisecond.
    void check();
    void end(std::uint64_t takeovers, std::uint64_t fences);

    std::uint64_t excused() const { return excused_; }

  private:
    using Evidence = failover::Evidence;

    void judge_silence(const std::string& what);
    void judge_connectivity(const std::string& what);
    void judge_takeover(const Evidence& evidence);
    void check_veto();
    void check_replica_serves();
    void check_primary_may_speak();
    void check_somebody_serves();
    // Both directions of one link at least.
    Instant links_since() const;
    Instant link_since(std::size_t link) const;
    bool lasted(Instant since, Duration bound) const;
    Duration agents_bound() const;
    bool fence_is_in_the_way() const;

    EventQueue& queue_;
    const FailoverScenario& scenario_;
    const FailoverPrimary& primary_;
    const FailoverReplica& replica_;
    Accuse accuse_;
    Instant last_on_links_{}, last_on_tap_{}, last_on_lan_{};
    Instant looked_at_{};
    Instant first_news_{};
    std::uint64_t looks_counted_ = 0;
    // When the condition was last seen not to hold.
    Instant kernel_ran_{}, did_not_give_up_{}, was_in_maintenance_{}, was_not_silent_{}, somebody_served_{},
        muted_{};
    std::uint64_t excused_ = 0;
};

}  // namespace understudy::sim
