// What a descriptor is, and the channel to understudyd, for the preload library. Holds no lock and allocates nothing:
// any of it may run in a signal handler, or between fork and exec.
#pragma once

#include <sys/socket.h>

#include "proto/shim_channel.hh"

namespace understudy::shim {

// The C library's own functions.
struct Real {
#define FUNCTION(name, result, parameters) result(*name) parameters = nullptr;
#define KERNEL(name)
#include "tools/shim/functions.def"
#undef FUNCTION
#undef KERNEL
};
// Binds them at the first call, which is the constructor's unless another library's came first.
const Real& real();

// What `descriptor` is of a replicated service. False: nothing.
bool find_socket(int descriptor, proto::shim::SocketName& name);
// The same by the address that getsockname() or recvmsg() gave.
bool read_name(const sockaddr_storage& address, socklen_t length, proto::shim::SocketName& name);

// The service that a socket of this family bound to this address serves; nullptr: none. `v6_only` as IPV6_V6ONLY says.
const proto::shim::Address* find_service(const sockaddr* address, socklen_t length, bool v6_only);
// False for an address of another family.
bool from_sockaddr(const sockaddr* address, socklen_t length, proto::shim::Address& out);
// As the kernel gives addresses: at most *length bytes, and *length is what there is. `family`: 4 or 6. Returns 0, or -1
// with errno set for a length that is none.
int to_sockaddr(const proto::shim::Address& address, int family, sockaddr* out, socklen_t* length);

// A new connection to the channel; -1 with errno set.
int connect_channel();
// Sends `message` by `channel`; false with errno set.
bool send_message(int channel, const proto::shim::Message& message, int passed_descriptor = -1);
// Sends a question by `channel` and waits for its answer; false with errno set, also to the answer's error.
bool ask(int channel, const proto::shim::Message& question, proto::shim::Message& answer);
// This process's connection for the options of connections of `service`; -1 with errno set. It is found again after
// fork, and made again when the program has closed it.
int attached_channel(const proto::shim::Address& service);

// One line on standard error, "understudy: " before it.
void tell(const char* line);

}  // namespace understudy::shim
