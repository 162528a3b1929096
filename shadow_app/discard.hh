// RFC 863 over TCP: every byte is thrown away.
#pragma once

#include "shadow_app/application.hh"

namespace understudy::shadow_app {

class Discard final : public Application {
  public:
    bool is_stateless() const override { return true; }
    std::size_t received(Connection&, std::span<const std::byte> bytes) override { return bytes.size(); }
};

}  // namespace understudy::shadow_app
