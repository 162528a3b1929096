// What a connection over the shadow stack offers beside what every Connection does: for the shim, whose programs
// ask for what kernel sockets offer.
#pragma once

#include <optional>

#include "shadow_app/application.hh"
#include "stack/options.hh"
#include "stack/snapshot.hh"

namespace understudy::shadow_app {

class StackConnection : public Connection {
  public:
    // Closes both directions, as close(2) does; Application::closed follows.
    virtual void close() = 0;
    // Before the takeover: what is written is compared with the primary's output.
    virtual bool silent() const = 0;
    virtual void set_options(const stack::ConnectionOptions& options) = 0;
    virtual std::optional<stack::ConnectionOptions> options() const = 0;
    virtual std::optional<stack::ConnectionSnapshot> snapshot() const = 0;
};

}  // namespace understudy::shadow_app
