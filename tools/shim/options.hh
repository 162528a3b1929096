// Socket options of a replicated service: who answers for each.
#pragma once

#include <sys/socket.h>

#include "proto/shim_channel.hh"

namespace understudy::shim {

// getsockopt and setsockopt of a descriptor that find_socket() knows. As those: 0, or -1 with errno set.
int get_option(int descriptor, const proto::shim::SocketName& name, int level, int option, void* value,
               socklen_t* length);
int set_option(int descriptor, const proto::shim::SocketName& name, int level, int option, const void* value,
               socklen_t length);
// SIOCOUTQ of a connection.
int get_unacknowledged(const proto::shim::SocketName& name, int* bytes);
// Gives the listening socket `channel` what the program set on the kernel socket `from`.
void carry_options(int from, int channel, std::uint64_t id);

}  // namespace understudy::shim
