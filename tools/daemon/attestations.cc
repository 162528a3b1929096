#include "tools/daemon/attestations.hh"

#include <algorithm>
#include <set>
#include <utility>

#include <spdlog/spdlog.h>

namespace understudy::tools {
namespace {

using Error = proto::v1::ControlError;

constexpr std::size_t max_reason_bytes = 1000;

bool is_one_line(const std::string& text) {
    const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
    return !text.empty() && text.size() <= max_reason_bytes &&
           std::none_of(text.begin(), text.end(), is_control);
}

// The services of a core that were attested, of those wanted; without any named, of those with a state.
std::vector<std::string> attest(Core& core, const std::vector<stack::Endpoint>& wanted, bool named) {
    std::vector<std::string> attested;
    for (const stack::ServiceSnapshot& service : core.stack().services()) {
        if (std::find(wanted.begin(), wanted.end(), service.service) == wanted.end()) continue;
        if (!named && service.state == stack::ServiceState::stateless) continue;
        if (core.attest(service.service)) attested.push_back(stack::to_string(service.service));
    }
    return attested;
}

}  // namespace

Attestations::Attestations(DataPlane& plane, EventLog& events, std::vector<stack::Endpoint> services)
    : plane_(plane), events_(events), services_(std::move(services)) {}

void Attestations::answer(const proto::v1::AttestRequest& request, const ControlHandler::Completion& done) {
    if (!is_one_line(request.reason()))
        return done(error_response(Error::REFUSED, "a reason of one line is needed: why the states are equal"));
    std::vector<stack::Endpoint> wanted = services_;
    const bool named = !request.services().empty();
    if (named) wanted.clear();
    for (const std::string& name : request.services()) {
        const auto endpoint = stack::parse_endpoint(name);
        if (!endpoint || std::find(services_.begin(), services_.end(), *endpoint) == services_.end())
            return done(error_response(Error::REFUSED,
                                       "\"" + name + "\" is no TCP service of this replica; see understudy status"));
        wanted.push_back(*endpoint);
    }
    using Names = std::vector<std::string>;
    const bool queued = plane_.ask_each<Names>(
        [wanted, named](Core& core) { return attest(core, wanted, named); },
        [this, done, reason = request.reason()](const std::vector<Names>& parts) {
            std::set<std::string> attested;
            for (const Names& part : parts)
                attested.insert(part.begin(), part.end());
            if (attested.empty())
                return done(error_response(Error::REFUSED, "no service has a program with a state to attest"));
            events_.add("attested", {{"services", attested}, {"reason", reason}});
            proto::v1::ControlResponse response;
            response.mutable_attest()->mutable_services()->Add(attested.begin(), attested.end());
            done(response);
        });
    if (!queued) done(error_response(Error::TIMED_OUT, "the data plane does not take tasks"));
}

void Attestations::report_losses() {
    for (std::size_t core = 0; core < plane_.cores(); ++core)
        while (const auto loss = plane_.core(core).next_state_loss()) {
            const std::string service = stack::to_string(loss->service);
            events_.add_at(loss->at.time_since_epoch().count(), "state_lost", {{"service", service}});
            spdlog::warn("state_lost service={}: the program missed an input; see understudy attest", service);
        }
}

}  // namespace understudy::tools
