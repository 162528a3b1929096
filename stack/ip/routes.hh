// Next-hop determination (RFC 1122 3.3.1, RFC 4861 5.2).
#pragma once

#include <vector>

#include "stack/settings.hh"

namespace understudy::stack::ip {

// To whom a packet for `destination` is handed: itself where the most specific route says that it is on the
// link, else that route's gateway. Without a route that fits it is taken to be on the link, as every
// link-local address is.
IpAddress next_hop(const std::vector<Route>& routes, const IpAddress& destination);

}  // namespace understudy::stack::ip
