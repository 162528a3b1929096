// Who is who on the simulated service LAN.
#pragma once

#include "stack/address.hh"

namespace understudy::sim {

inline constexpr std::size_t lan_mtu = 1500;
inline constexpr std::size_t heartbeat_links = 2;
inline constexpr stack::LinkAddress primary_link{{2, 0, 0, 0, 0, 1}};
inline constexpr stack::LinkAddress replica_link{{2, 0, 0, 0, 0, 2}};
inline constexpr stack::Endpoint service{stack::IpAddress::from_v4(0x0a4d0001), 7000};

}  // namespace understudy::sim
