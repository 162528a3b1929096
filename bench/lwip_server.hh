// lwIP under the same measurement: its raw interface, without its thread.
#pragma once

#include <memory>
#include <vector>

#include "bench/server.hh"

struct netif;
struct tcp_pcb;

namespace understudy::bench {

// At most one at a time: the library has one state for the whole process.
class LwipServer final : public Server {
  public:
    explicit LwipServer(std::size_t connections);
    ~LwipServer() override;
    std::uint64_t refused() const override { return ended_; }

    // For lwIP's callbacks alone.
    void accepted(tcp_pcb* pcb);
    void received(tcp_pcb* pcb, std::span<const std::byte> bytes);
    void ended(const tcp_pcb* pcb);
    void sent(std::span<const std::byte> frame) { note_sent(frame); }
    std::span<std::byte> out() { return out_; }

  private:
    void receive(std::span<const stack::ReceivedFrame> burst) override;
    void advance() override;
    void write(std::size_t client, std::span<const std::byte> bytes) override;

    std::unique_ptr<netif> netif_;
    tcp_pcb* listener_ = nullptr;
    std::vector<tcp_pcb*> pcbs_;
    std::array<std::byte, max_frame> out_;
    std::uint64_t ended_ = 0;  // by reset
};

}  // namespace understudy::bench
