// What every check does with sockets. All waits are bounded; what must not fail throws Broken.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tests/shim/side.hh"
#include "tools/twin/descriptor.hh"

namespace understudy::conformance {

using twin::Descriptor;

// A listening socket at the service's address; `flags` go to socket().
Descriptor listen_at(const Side& side, int flags = 0, int backlog = 128);
// The next connection, waited for.
Descriptor accept_from(int listener);
// A connection of the client's.
Descriptor connect_to(const Side& side);
// The client's connection when the server accepts exactly one: both meet once the server listens.
Descriptor meet_and_connect(Side& side);

struct Accepted {
    Descriptor listener;
    Descriptor connection;
};
Accepted meet_and_accept(Side& side, int flags = 0);

void send_all(int socket, std::string_view bytes);
// Exactly `count` bytes, or fewer where the stream ends.
std::string receive(int socket, std::size_t count);
// Everything until the stream ends, without keeping it: "1048576 bytes 9ae16a3b2f90404f, then end" or
// "..., then ECONNRESET".
std::string drain(int socket);
// How a stream ends that has nothing more to say: "end", or the error's name.
std::string ending(int socket);

// Bytes that tell which place they belong to.
std::string pattern(std::size_t count);
// In the words of drain(): "5 bytes a430d84680aabd0b".
std::string digest(std::string_view bytes);

// What poll() reports for `events` and without being asked, as names: "IN OUT HUP"; "" at the time-out.
std::string poll_names(int socket, short events, int timeout_ms);
std::string names_of_events(unsigned events);
// Waits until poll() reports exactly `names` for `events`; what it then reports.
std::string settle(int socket, short events, const std::string& names);
// Waits until so many bytes can be read.
void await_bytes(int socket, int count);
void await(int socket, short events);

void set_option(int socket, int level, int name, int value);
// close() resets.
void reset_on_close(int socket);

// A line that tells whether `address` is the one a client connected from, told by describe() of its own.
std::string describe(const sockaddr_in& address);
sockaddr_in name_of(int socket);
sockaddr_in peer_of(int socket);

}  // namespace understudy::conformance
