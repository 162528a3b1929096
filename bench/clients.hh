// Very many clients of one service, as cheap as they can be: their numbers are known without reading what the
// service sends.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "stack/address.hh"

namespace understudy::bench {

inline constexpr std::size_t burst_size = 32;
// Bursts measured in one go: reading the clock costs as much as a segment.
inline constexpr std::size_t batch_size = 8 * burst_size;
inline constexpr std::size_t max_frame = 1514;
inline constexpr std::uint32_t full_segment = 1448;  // with timestamps in an MTU of 1500

inline constexpr stack::LinkAddress client_link{{0x02, 0, 0, 0, 0, 0x0c}};
inline constexpr stack::LinkAddress service_link{{0x02, 0, 0, 0, 0, 0x02}};
inline constexpr stack::LinkAddress primary_link{{0x02, 0, 0, 0, 0, 0x01}};
inline constexpr stack::Endpoint service{stack::IpAddress::from_v4(0x0a4d0001), 7000};

// What one client has sent and acknowledged.
struct Client {
    std::uint32_t seq = 0;
    std::uint32_t ack = 0;
    std::uint32_t tsecr = 0;
};

class Clients {
  public:
    explicit Clients(std::size_t count) : clients_(count) {}

    std::size_t size() const { return clients_.size(); }
    Client& operator[](std::size_t i) { return clients_[i]; }

    // Writes a segment of client `i` into `frame` and returns it; its payload is whatever stood there. The
    // client's seq moves on.
    std::span<const std::byte> segment(std::span<std::byte, max_frame> frame, std::size_t i,
                                       std::uint8_t flags, std::uint32_t payload_length, std::uint32_t tsval);
    // A segment of the primary to client `i`, without payload: its SYN/ACK, or an acknowledgement of all that
    // the client sent. The client is taken to hear it.
    std::span<const std::byte> primary_segment(std::span<std::byte, max_frame> frame, std::size_t i,
                                               std::uint8_t flags, std::uint32_t tsval);

  private:
    std::vector<Client> clients_;
};

}  // namespace understudy::bench
