// Runs a DatagramApplication over a kernel socket: what the primary of a UDP service serves with.
#pragma once

#include <cstdint>
#include <vector>

#include "shadow_app/datagram_application.hh"
#include "tools/twin/descriptor.hh"

namespace understudy::twin {

struct DatagramServerCounters {
    std::uint64_t received = 0;
    std::uint64_t sent = 0;
    std::uint64_t receive_errors = 0;  // the kernel's word of earlier answers, such as port unreachable
    std::uint64_t send_errors = 0;
};

class KernelDatagramServer final : private shadow_app::DatagramService {
  public:
    // Binds. `application` must outlive the server. Throws std::system_error whose text says what could not
    // be done.
    KernelDatagramServer(const stack::Endpoint& listen, shadow_app::DatagramApplication& application);
    ~KernelDatagramServer() override;
    KernelDatagramServer(const KernelDatagramServer&) = delete;
    KernelDatagramServer& operator=(const KernelDatagramServer&) = delete;

    // Where it is bound: with the port that the kernel chose if none was asked for.
    const stack::Endpoint& local() const { return local_; }
    // Serves until `stop_descriptor` is readable.
    void run(int stop_descriptor);
    const DatagramServerCounters& counters() const { return counters_; }

  private:
    bool send(const stack::Endpoint& client, std::span<const std::byte> bytes) override;
    const stack::Endpoint& endpoint() const override { return local_; }
    void receive_waiting();

    shadow_app::DatagramApplication& application_;
    Descriptor socket_;
    stack::Endpoint local_;
    std::vector<std::byte> input_;
    DatagramServerCounters counters_;
};

}  // namespace understudy::twin
