// Reading from a socket, and when the kernel got what was read.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <span>

#include "tools/load/receipts.hh"

struct msghdr;

namespace understudy::load {

// The kernel's stamp of this kind (SCM_TIMESTAMPNS, SCM_TIMESTAMPING) among the control messages.
std::optional<Instant> kernel_time(msghdr& message, int kind);
// recv(2) on a socket with SO_TIMESTAMPNS; `arrived` is set to when the kernel got the last of the bytes, if
// it says so.
ssize_t receive(int socket, std::span<std::byte> out, Instant& arrived);

}  // namespace understudy::load
