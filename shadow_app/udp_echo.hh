// RFC 862 over UDP: every datagram goes back to its sender.
#pragma once

#include "shadow_app/datagram_application.hh"

namespace understudy::shadow_app {

class UdpEcho final : public DatagramApplication {
  public:
    void received(DatagramService& service, const Endpoint& client,
                  std::span<const std::byte> bytes) override {
        service.send(client, bytes);
    }
};

}  // namespace understudy::shadow_app
