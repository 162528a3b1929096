// What sockets say of themselves: addresses, options, flags, errors.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "tests/shim/check.hh"
#include "tests/shim/sockets.hh"

namespace understudy::conformance {
namespace {

const sockaddr* generic(const sockaddr_in& address) { return reinterpret_cast<const sockaddr*>(&address); }

void names_server(Side& side) {
    Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    side.say("unbound", describe(name_of(listener.get())));
    listener = listen_at(side);
    const std::string service = describe(side.service());
    side.truth("the listener's name", describe(name_of(listener.get())) == service);
    sockaddr_in peer{};
    socklen_t length = sizeof peer;
    side.note("the listener's peer", ::getpeername(listener.get(), reinterpret_cast<sockaddr*>(&peer), &length));
    side.meet();
    length = sizeof peer;
    await(listener.get(), POLLIN);
    Descriptor connection(::accept(listener.get(), reinterpret_cast<sockaddr*>(&peer), &length));
    side.note("length of the accepted name", static_cast<long>(length));
    const std::string client = side.hear();
    side.truth("accept tells the client", describe(peer) == client);
    side.truth("getpeername as well", describe(peer_of(connection.get())) == client);
    side.truth("the own name", describe(name_of(connection.get())) == service);
    sockaddr_in cut{};
    length = 4;
    side.note("getpeername into 4 bytes", ::getpeername(connection.get(), reinterpret_cast<sockaddr*>(&cut), &length));
    side.note("the length it needs", static_cast<long>(length));
    side.truth("no more than 4", cut.sin_port == peer.sin_port && cut.sin_addr.s_addr == 0);
    std::array<char, 128> large{};
    length = large.size();
    side.note("getsockname into 128", ::getsockname(connection.get(), reinterpret_cast<sockaddr*>(large.data()), &length));
    side.note("the length it needs", static_cast<long>(length));
    length = static_cast<socklen_t>(-1);
    side.note("a negative length", ::getsockname(connection.get(), reinterpret_cast<sockaddr*>(&cut), &length));
    await(listener.get(), POLLIN);
    length = 6;
    Descriptor second(::accept(listener.get(), reinterpret_cast<sockaddr*>(&cut), &length));
    side.note_ok("accept into 6 bytes", second.get());
    side.note("the length it needs", static_cast<long>(length));
    struct stat kind {};
    ::fstat(connection.get(), &kind);
    side.truth("a socket", S_ISSOCK(kind.st_mode));
    side.meet();
}

void names_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.tell(describe(name_of(socket.get())));
    Descriptor second = connect_to(side);
    side.meet();
}

void any_address_server(Side& side) {
    sockaddr_in any = side.service();
    any.sin_addr.s_addr = INADDR_ANY;
    Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    set_option(listener.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    side.note("bind", ::bind(listener.get(), generic(any), sizeof any));
    side.note("listen", ::listen(listener.get(), 8));
    side.truth("the listener's name", describe(name_of(listener.get())) == describe(any));
    side.meet();
    Descriptor connection = accept_from(listener.get());
    side.truth("the connection's name", describe(name_of(connection.get())) == describe(side.service()));
    side.truth("the peer", describe(peer_of(connection.get())) == side.hear());
}

void tells_name_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.tell(describe(name_of(socket.get())));
    side.say("then", ending(socket.get()));
}

std::string describe6(const sockaddr_in6& address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(AF_INET6, &address.sin6_addr, text.data(), text.size());
    return std::string(text.data()) + " " + std::to_string(ntohs(address.sin6_port));
}

void both_families_server(Side& side) {
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    any.sin6_port = side.service().sin_port;
    Descriptor listener(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    set_option(listener.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    side.note("both families", ::setsockopt(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY, std::array<int, 1>{0}.data(), 4));
    side.note("bind", ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any));
    side.note("listen", ::listen(listener.get(), 8));
    side.meet();
    await(listener.get(), POLLIN);
    sockaddr_in6 peer{};
    socklen_t length = sizeof peer;
    Descriptor connection(::accept(listener.get(), reinterpret_cast<sockaddr*>(&peer), &length));
    side.note("length of the accepted name", static_cast<long>(length));
    const std::string client = side.hear();
    side.truth("the client in mapped form", describe6(peer) == "::ffff:" + client.substr(0, client.find(':')) + " " +
                                                                   client.substr(client.find(':') + 1));
    sockaddr_in6 own{};
    length = sizeof own;
    ::getsockname(connection.get(), reinterpret_cast<sockaddr*>(&own), &length);
    side.note("length of the own name", static_cast<long>(length));
    side.note("family", own.sin6_family);
    const std::string service = describe(side.service());
    side.truth("the own name in mapped form", describe6(own) == "::ffff:" + service.substr(0, service.find(':')) + " " +
                                                                  service.substr(service.find(':') + 1));
}

void flags_server(Side& side) {
    Descriptor listener = listen_at(side);
    side.meet();
    const auto flags_of = [&side](const std::string& what, int socket) {
        const int status = ::fcntl(socket, F_GETFL);
        side.say(what, std::string((status & O_NONBLOCK) != 0 ? "non-blocking" : "blocking") +
                           ((status & O_ACCMODE) == O_RDWR ? " read-write" : " ?") +
                           ((::fcntl(socket, F_GETFD) & FD_CLOEXEC) != 0 ? " close-on-exec" : ""));
    };
    await(listener.get(), POLLIN);
    Descriptor plain(::accept(listener.get(), nullptr, nullptr));
    flags_of("accept", plain.get());
    await(listener.get(), POLLIN);
    Descriptor both(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    flags_of("accept4 of both", both.get());
    await(listener.get(), POLLIN);
    side.note_ok("accept4 of unknown flags", ::accept4(listener.get(), nullptr, nullptr, 1));
    Descriptor third(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
    flags_of("accept4 of one", third.get());
    ::fcntl(listener.get(), F_SETFL, O_NONBLOCK);
    side.meet();
    await(listener.get(), POLLIN);
    Descriptor fourth(::accept(listener.get(), nullptr, nullptr));
    flags_of("accept from a non-blocking listener", fourth.get());
    ::fcntl(fourth.get(), F_SETFL, O_NONBLOCK);
    flags_of("set", fourth.get());
    char byte = 0;
    side.note("recv", ::recv(fourth.get(), &byte, 1, 0));
    side.note_ok("accept of nothing", ::accept(listener.get(), nullptr, nullptr));
    side.meet();
}

void flags_client(Side& side) {
    side.meet();
    std::array<Descriptor, 4> sockets;
    for (int i = 0; i < 3; ++i)
        sockets[static_cast<std::size_t>(i)] = connect_to(side);
    side.meet();
    sockets[3] = connect_to(side);
    side.meet();
}

// Connections, their bytes and their ends come before accept does.
void backlog_server(Side& side) {
    Descriptor listener = listen_at(side, 0, 16);
    side.note("listen with another backlog", ::listen(listener.get(), 32));
    side.meet();
    side.meet();
    int whole = 0;
    for (int i = 0; i < 8; ++i) {
        Descriptor connection = accept_from(listener.get());
        whole += drain(connection.get()) == digest("hello") + ", then end" ? 1 : 0;
        send_all(connection.get(), "late answer");
    }
    side.note("whole", whole);
    side.meet();
    Descriptor reset = accept_from(listener.get());
    await(reset.get(), POLLHUP);
    side.say("whom the client has reset", ending(reset.get()));
    side.meet();
}

void backlog_client(Side& side) {
    side.meet();
    std::array<Descriptor, 8> sockets;
    for (Descriptor& socket : sockets) {
        socket = connect_to(side);
        send_all(socket.get(), "hello");
        ::shutdown(socket.get(), SHUT_WR);
    }
    side.meet();
    for (const Descriptor& socket : sockets)
        side.say("answer", drain(socket.get()));
    {
        Descriptor reset = connect_to(side);
        reset_on_close(reset.get());
    }
    side.meet();
    side.meet();
}

struct Option {
    const char* name;
    int level;
    int number;
    int value;  // to set
    bool tell;  // the value that is read back; the kernel's choice otherwise
};

constexpr int tos = 0x10;
constexpr Option options[] = {
    {"SO_TYPE", SOL_SOCKET, SO_TYPE, 1, true},
    {"SO_DOMAIN", SOL_SOCKET, SO_DOMAIN, 1, true},
    {"SO_PROTOCOL", SOL_SOCKET, SO_PROTOCOL, 1, true},
    {"SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN, 1, true},
    {"SO_ERROR", SOL_SOCKET, SO_ERROR, 1, true},
    {"SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 1, true},
    {"SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT, 1, true},
    {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1, true},
    {"SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, 1, true},
    {"SO_BROADCAST", SOL_SOCKET, SO_BROADCAST, 1, true},
    {"SO_DONTROUTE", SOL_SOCKET, SO_DONTROUTE, 1, true},
    {"SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, 3, true},
    {"SO_MARK", SOL_SOCKET, SO_MARK, 7, true},
    {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, 32768, true},
    {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 32768, true},
    {"SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT, 1, true},
    {"SO_SNDLOWAT", SOL_SOCKET, SO_SNDLOWAT, 1, true},
    {"SO_BUSY_POLL", SOL_SOCKET, SO_BUSY_POLL, 0, true},
    {"SO_TIMESTAMP", SOL_SOCKET, SO_TIMESTAMP, 1, true},
    {"SO_INCOMING_CPU", SOL_SOCKET, SO_INCOMING_CPU, 0, false},
    {"SO_ZEROCOPY", SOL_SOCKET, SO_ZEROCOPY, 1, true},
    {"SO_PEERCRED", SOL_SOCKET, SO_PEERCRED, 1, false},
    {"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1, true},
    {"TCP_CORK", IPPROTO_TCP, TCP_CORK, 1, true},
    {"TCP_QUICKACK", IPPROTO_TCP, TCP_QUICKACK, 1, true},
    {"TCP_MAXSEG", IPPROTO_TCP, TCP_MAXSEG, 1000, false},
    {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 30, true},
    {"TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, 5, true},
    {"TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, 4, true},
    {"TCP_SYNCNT", IPPROTO_TCP, TCP_SYNCNT, 4, true},
    {"TCP_LINGER2", IPPROTO_TCP, TCP_LINGER2, 20, true},
    {"TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT, 1, true},
    {"TCP_WINDOW_CLAMP", IPPROTO_TCP, TCP_WINDOW_CLAMP, 65536, true},
    {"TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, 5000, true},
    {"TCP_FASTOPEN", IPPROTO_TCP, TCP_FASTOPEN, 16, false},
    {"TCP_NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384, true},
    {"TCP_MD5SIG", IPPROTO_TCP, TCP_MD5SIG, 1, true},
    {"IP_TOS", IPPROTO_IP, IP_TOS, tos, true},
    {"IP_TTL", IPPROTO_IP, IP_TTL, 60, true},
    {"IP_MTU_DISCOVER", IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO, true},
    {"IP_RECVERR", IPPROTO_IP, IP_RECVERR, 1, true},
    {"IP_TRANSPARENT", IPPROTO_IP, IP_TRANSPARENT, 1, true},
    {"IP_FREEBIND", IPPROTO_IP, IP_FREEBIND, 1, true},
    {"IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY, 1, true},
    {"SOL_SOCKET 999", SOL_SOCKET, 999, 1, true},
    {"IPPROTO_TCP 999", IPPROTO_TCP, 999, 1, true},
    {"level 999", 999, 1, 1, true},
};

std::string read_option(int socket, const Option& option) {
    std::array<int, 16> value{};
    socklen_t length = sizeof(int);
    if (::getsockopt(socket, option.level, option.number, value.data(), &length) != 0) return "-1 " + name_of_error(errno);
    return option.tell ? std::to_string(value[0]) : "told";
}

void tell_options(Side& side, const std::string& of, int socket) {
    for (const Option& option : options) {
        std::string line = read_option(socket, option) + ", set ";
        const int done = ::setsockopt(socket, option.level, option.number, &option.value, sizeof option.value);
        line += done == 0 ? "0" : "-1 " + name_of_error(errno);
        if (done == 0) line += ", then " + read_option(socket, option);
        side.say(of + " " + option.name, line);
    }
}

void options_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    tell_options(side, "connection", connection.get());
    side.note("too short", ::setsockopt(connection.get(), SOL_SOCKET, SO_KEEPALIVE, "", 1));
    side.note("no value", ::setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, nullptr, 4));
    std::array<char, 64> name{};
    socklen_t length = name.size();
    side.note("TCP_CONGESTION", ::getsockopt(connection.get(), IPPROTO_TCP, TCP_CONGESTION, name.data(), &length));
    side.say("it is", name.data());
    side.note("a congestion control that is none",
              ::setsockopt(connection.get(), IPPROTO_TCP, TCP_CONGESTION, "nonesuch", 8));
    Descriptor fresh(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    tell_options(side, "fresh", fresh.get());
    tell_options(side, "listener", listener.get());
    // What a listener was given, its connections have.
    Descriptor other = accept_from(listener.get());
    for (const Option& option : options)
        side.say(std::string("inherited ") + option.name, read_option(other.get(), option));
    side.meet();
}

void options_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    Descriptor other = connect_to(side);
    side.meet();
}

tcp_info info_of(Side& side, int socket) {
    tcp_info info{};
    socklen_t length = sizeof info;
    side.note("TCP_INFO", ::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length));
    side.note("length", static_cast<long>(length));
    return info;
}

void tcp_info_server(Side& side) {
    auto [listener, connection] = meet_and_accept(side);
    side.note("listener's state", info_of(side, listener.get()).tcpi_state);
    side.say("input", digest(receive(connection.get(), 20'000)));
    send_all(connection.get(), pattern(50'000));
    side.meet();
    // The client has it all: the last acknowledgement is on its way.
    tcp_info info{};
    for (int looks = 0; looks < patience_ms; ++looks, ::poll(nullptr, 0, 1)) {
        socklen_t length = sizeof info;
        ::getsockopt(connection.get(), IPPROTO_TCP, TCP_INFO, &info, &length);
        if (info.tcpi_unacked == 0) break;
    }
    side.note("state", info.tcpi_state);
    side.note("unacknowledged", info.tcpi_unacked);
    side.note("lost", info.tcpi_lost);
    side.note("options", info.tcpi_options & (TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE));
    side.note("sending segment", info.tcpi_snd_mss);
    side.truth("round trip measured", info.tcpi_rtt > 0 && info.tcpi_rtt < 1'000'000);
    side.truth("a congestion window", info.tcpi_snd_cwnd > 0);
    side.truth("a retransmission time", info.tcpi_rto >= 100'000);
    side.note("retransmits in a row", info.tcpi_retransmits);
    side.meet();
    (void)ending(connection.get());
    side.note("state after the client's FIN", info_of(side, connection.get()).tcpi_state);
    std::array<char, 8> little{};
    socklen_t length = little.size();
    side.note("into 8 bytes", ::getsockopt(connection.get(), IPPROTO_TCP, TCP_INFO, little.data(), &length));
    side.note("length", static_cast<long>(length));
}

void tcp_info_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    send_all(socket.get(), pattern(20'000));
    side.say("answer", digest(receive(socket.get(), 50'000)));
    side.meet();
    side.meet();
    ::shutdown(socket.get(), SHUT_WR);
    side.say("then", ending(socket.get()));
}

void errors_server(Side& side) {
    Descriptor fresh(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in service = side.service();
    sockaddr_in elsewhere = service;
    elsewhere.sin_addr.s_addr = ::inet_addr("192.0.2.1");
    char byte = 0;
    side.note_ok("accept before listen", ::accept(fresh.get(), nullptr, nullptr));
    side.note("recv unconnected", ::recv(fresh.get(), &byte, 1, MSG_DONTWAIT));
    side.note("send unconnected", ::send(fresh.get(), &byte, 1, MSG_NOSIGNAL));
    side.note("shutdown unconnected", ::shutdown(fresh.get(), SHUT_WR));
    side.say("poll unconnected", poll_names(fresh.get(), POLLIN | POLLOUT, 0));
    side.note("bind elsewhere", ::bind(fresh.get(), generic(elsewhere), sizeof elsewhere));
    side.note("bind of too short a name", ::bind(fresh.get(), generic(service), 4));
    side.note("bind without a name", ::bind(fresh.get(), nullptr, sizeof service));
    Descriptor listener = listen_at(side);
    side.note("bind of a name in use", ::bind(fresh.get(), generic(service), sizeof service));
    side.note("bind again", ::bind(listener.get(), generic(service), sizeof service));
    side.note("recv from the listener", ::recv(listener.get(), &byte, 1, MSG_DONTWAIT));
    side.note("send to the listener", ::send(listener.get(), &byte, 1, MSG_NOSIGNAL));
    side.note("connect of the listener", ::connect(listener.get(), generic(elsewhere), sizeof elsewhere));
    side.meet();
    Descriptor connection = accept_from(listener.get());
    side.note_ok("accept from a connection", ::accept(connection.get(), nullptr, nullptr));
    side.note("listen on a connection", ::listen(connection.get(), 8));
    side.note("bind of a connection", ::bind(connection.get(), generic(service), sizeof service));
    side.note("connect of a connection", ::connect(connection.get(), generic(elsewhere), sizeof elsewhere));
    side.note("recv to nowhere", ::recv(connection.get(), nullptr, 4, MSG_DONTWAIT));
    const int closed = connection.get();
    connection = Descriptor();
    side.note("recv of a closed one", ::recv(closed, &byte, 1, 0));
    side.note("close again", ::close(closed));
    side.note_ok("accept from no socket", ::accept(STDIN_FILENO, nullptr, nullptr));
    side.note("getsockname of no socket", ::getpeername(STDIN_FILENO, nullptr, nullptr));
    side.note("listen of nothing", ::listen(-1, 1));
}

void errors_client(Side& side) {
    Descriptor socket = meet_and_connect(side);
    side.say("then", ending(socket.get()));
}

// What is not of the service, the shim leaves alone.
void untouched_server(Side& side) {
    Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in own{};
    own.sin_family = AF_INET;
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    side.note("bind", ::bind(listener.get(), generic(own), sizeof own));
    side.note("listen", ::listen(listener.get(), 8));
    own = name_of(listener.get());
    side.truth("a port", own.sin_port != 0);
    Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    side.note("connect", ::connect(client.get(), generic(own), sizeof own));
    Descriptor connection = accept_from(listener.get());
    side.truth("the peer", describe(peer_of(connection.get())) == describe(name_of(client.get())));
    send_all(client.get(), "inside");
    side.say("input", receive(connection.get(), 6));
    int pair[2] = {-1, -1};
    side.note("socketpair", ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    const Descriptor one(pair[0]), two(pair[1]);
    send_all(one.get(), "pair");
    side.say("through it", receive(two.get(), 4));
    Descriptor datagrams(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    own.sin_port = 0;
    side.note("bind for datagrams", ::bind(datagrams.get(), generic(own), sizeof own));
    own = name_of(datagrams.get());
    side.note("sendto", ::sendto(datagrams.get(), "data", 4, 0, generic(own), sizeof own));
    side.say("datagram", receive(datagrams.get(), 4));
    Descriptor local(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage name{};
    socklen_t length = sizeof name;
    side.note("a local socket's name", ::getsockname(local.get(), reinterpret_cast<sockaddr*>(&name), &length));
    side.note("its length", static_cast<long>(length));
}

void nothing_client(Side&) {}

constexpr Check table[] = {
    {"names", names_server, names_client},
    {"any-address", any_address_server, tells_name_client},
    {"both-families", both_families_server, tells_name_client},
    {"accept4", flags_server, flags_client},
    {"backlog", backlog_server, backlog_client},
    {"options", options_server, options_client},
    {"TCP_INFO", tcp_info_server, tcp_info_client},
    {"errors", errors_server, errors_client},
    {"untouched", untouched_server, nothing_client},
};

}  // namespace

std::span<const Check> name_checks() { return table; }

}  // namespace understudy::conformance
