#include "tools/daemon/decision_counters.hh"

#include <array>
#include <cstdint>

namespace understudy::tools {
namespace {

template <typename Counters>
struct Info {
    std::uint64_t Counters::*value;
    const char* name;
    const char* help;
};

using failover::DecisionCounters;
using failover::ProbeCounters;

constexpr std::array decision_table{
    Info<DecisionCounters>{&DecisionCounters::suspected, "decision.suspected", "times that the primary was suspected"},
    Info<DecisionCounters>{&DecisionCounters::returned_to_silent, "decision.returned_to_silent",
                           "suspicions that a sign of life ended, and takeovers that were taken back"},
    Info<DecisionCounters>{&DecisionCounters::probes, "decision.probes", "times that the primary's kernel was asked"},
    Info<DecisionCounters>{&DecisionCounters::probes_answered, "decision.probes_answered",
                           "readings of the links that held an answer of its kernel"},
    Info<DecisionCounters>{&DecisionCounters::address_answers, "decision.address_answers",
                           "answers of the primary's kernel to probes on the service LAN"},
    Info<DecisionCounters>{&DecisionCounters::witness_answers, "decision.witness_answers",
                           "answers of the witnesses of our own connectivity"},
    Info<DecisionCounters>{&DecisionCounters::stalls, "decision.stalls",
                           "times that this process did not run for too long to conclude"},
    Info<DecisionCounters>{&DecisionCounters::waited_for_reading, "decision.waited_for_reading",
                           "looks at a silence that was not proven, for what had arrived was not read yet"},
    Info<DecisionCounters>{&DecisionCounters::held_without_first_heartbeat, "decision.held_without_first_heartbeat",
                           "looks at the silence of a primary that was never heard"},
    Info<DecisionCounters>{&DecisionCounters::held_without_connectivity, "decision.held_without_connectivity",
                           "looks at a proven death, held because this host may be the one that is cut off"},
    Info<DecisionCounters>{&DecisionCounters::held_by_hold_down, "decision.held_by_hold_down",
                           "looks at a proven death, held because this process started only just now"},
    Info<DecisionCounters>{&DecisionCounters::held_in_maintenance, "decision.held_in_maintenance",
                           "looks at a proven death, held because an operator forbade takeovers"},
    Info<DecisionCounters>{&DecisionCounters::held_until_settled, "decision.held_until_settled",
                           "looks at an orderly end, held because not all of it was followed yet"},
    Info<DecisionCounters>{&DecisionCounters::fences, "decision.fences", "fence commands begun"},
    Info<DecisionCounters>{&DecisionCounters::fences_failed, "decision.fences_failed",
                           "fence commands that did not confirm"},
    Info<DecisionCounters>{&DecisionCounters::switchovers_undone, "decision.switchovers_undone",
                           "switchovers that did not come about in time"},
    Info<DecisionCounters>{&DecisionCounters::vetoes, "decision.vetoes",
                           "takeovers taken back because the primary spoke before a client knew us"},
    Info<DecisionCounters>{&DecisionCounters::reasserted, "decision.reasserted",
                           "times that the primary spoke although clients knew us"},
    Info<DecisionCounters>{&DecisionCounters::operator_refused, "decision.operator_refused",
                           "requests refused to an operator"},
};
static_assert(decision_table.size() * sizeof(std::uint64_t) == sizeof(DecisionCounters));

constexpr std::array probe_table{
    Info<ProbeCounters>{&ProbeCounters::sent, "probe.sent",
                        "echo requests sent to the primary's ends of the heartbeat links"},
    Info<ProbeCounters>{&ProbeCounters::send_failures, "probe.send_failures",
                        "echo requests that the kernel did not take"},
    Info<ProbeCounters>{&ProbeCounters::answers, "probe.answers", "answers of the primary's kernel"},
    Info<ProbeCounters>{&ProbeCounters::refused, "probe.refused",
                        "ICMP messages on the links that answer no probe"},
};

template <typename Counters>
void add(proto::v1::CountersResponse& response, const Counters& counters, const auto& table) {
    for (const Info<Counters>& info : table) {
        auto& counter = *response.add_counters();
        counter.set_name(info.name);
        counter.set_value(counters.*info.value);
        counter.set_help(info.help);
    }
}

}  // namespace

void add_counters(proto::v1::CountersResponse& response, const failover::DecisionCounters& counters) {
    add(response, counters, decision_table);
}

void add_counters(proto::v1::CountersResponse& response, const failover::ProbeCounters& counters) {
    add(response, counters, probe_table);
}

}  // namespace understudy::tools
