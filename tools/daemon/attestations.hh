// The operator's word that the state of a program is that of the primary's, and the end of its validity (rules.md 5).
#pragma once

#include <string>
#include <vector>

#include "tools/common/event_log.hh"
#include "tools/control/server.hh"
#include "tools/daemon/data_plane.hh"

namespace understudy::tools {

class Attestations {
  public:
    // `plane` and `events` must outlive it; `services` are the TCP services there are.
    Attestations(DataPlane& plane, EventLog& events, std::vector<stack::Endpoint> services);

    // Every core takes note, then the event is written and `done` told, on the last core's thread.
    void answer(const proto::v1::AttestRequest& request, const ControlHandler::Completion& done);
    // Writes an event for each state that was lost since the last call. Control thread, now and then.
    void report_losses();

  private:
    DataPlane& plane_;
    EventLog& events_;
    const std::vector<stack::Endpoint> services_;
};

}  // namespace understudy::tools
