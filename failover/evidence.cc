#include "failover/evidence.hh"

#include <cstdio>

namespace understudy::failover {
namespace {

std::string milliseconds(Duration duration) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f ms", std::chrono::duration<double, std::milli>(duration).count());
    return text;
}

std::string describe(const Silence& silence) {
    return silence.lasted ? "for " + milliseconds(*silence.lasted) : "never heard";
}

}  // namespace

const char* to_string(ServiceState state) {
    switch (state) {
        case ServiceState::unknown:
            return "unknown";
        case ServiceState::serving:
            return "serving";
        case ServiceState::dead:
            return "dead";
        case ServiceState::no_carrier:
            return "no carrier";
        case ServiceState::shutting_down:
            return "shutting down";
        case ServiceState::standing_by:
            return "standing by";
    }
    return "?";
}

std::string to_string(const AgentWord& word) {
    std::string text = to_string(word.service);
    if (word.silenced) text += ", silenced";
    if (word.overloaded) text += ", overloaded";
    return text;
}

const char* to_string(Cause cause) {
    switch (cause) {
        case Cause::silence:
            return "silence";
        case Cause::sign_of_life:
            return "sign of life";
        case Cause::stall:
            return "stall";
        case Cause::agent_word:
            return "agent's word";
        case Cause::service_hang:
            return "service hang";
        case Cause::switchover:
            return "switchover";
        case Cause::veto:
            return "veto";
        case Cause::operator_request:
            return "operator request";
    }
    return "?";
}

std::string to_string(const Evidence& evidence) {
    std::string text = to_string(evidence.cause);
    if (evidence.cause == Cause::stall) text += " of " + milliseconds(evidence.lateness);
    if (evidence.forced) text += ", forced";
    if (evidence.fenced) text += ", fenced";
    text += ": links silent ";
    for (std::size_t i = 0; i < evidence.links.size(); ++i)
        text += (i == 0 ? "" : ", ") + describe(evidence.links[i]);
    if (!evidence.links.empty()) text += " (deadline " + milliseconds(evidence.links.front().deadline) + ")";
    text +=
        "; tap silent " + describe(evidence.tap) + " (deadline " + milliseconds(evidence.tap.deadline) + ")";
    if (evidence.unanswered_probe)
        text += "; probe unanswered for " + milliseconds(*evidence.unanswered_probe);
    if (evidence.unanswered_request)
        text += "; request unanswered for " + milliseconds(*evidence.unanswered_request);
    if (evidence.agent) text += "; agent says " + to_string(*evidence.agent);
    return text;
}

}  // namespace understudy::failover
