#include "failover/heartbeat_service.hh"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <sodium.h>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/steady_timer.hpp>

#include "failover/session.hh"

namespace understudy::failover {

namespace asio = boost::asio;
using asio::ip::udp;
using boost::system::error_code;

namespace {

// Most datagrams taken from one socket before other handlers get their turn.
constexpr std::size_t receive_burst = 64;
// Room for a flood to wait in while the heartbeats among it are picked out.
constexpr int receive_buffer_bytes = 1 << 20;
// The kernel charges a datagram at least this much of the room.
constexpr std::size_t least_charge_bytes = 512;

udp::endpoint parse_endpoint(std::string_view text) {
    const auto fail = [text]() {
        return std::invalid_argument("'" + std::string(text) + "' is no ADDRESS:PORT (IPv6: [ADDRESS]:PORT)");
    };
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) throw fail();
    std::string_view host = text.substr(0, colon);
    const std::string_view port_text = text.substr(colon + 1);
    const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    error_code error;
    const asio::ip::address address = asio::ip::make_address(std::string(host), error);
    std::uint16_t port = 0;
    const auto [end, status] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
    if (error || address.is_v6() != bracketed || port_text.empty() || status != std::errc{} ||
        end != port_text.data() + port_text.size())
        throw fail();
    return {address, port};
}

std::uint64_t unpredictable() {
    std::uint64_t value = 0;
    randombytes_buf(&value, sizeof value);
    return value;
}

Links::Settings link_settings(const HeartbeatSettings& settings) {
    return {.links = settings.links.size(),
            .interval = settings.interval,
            .deadline = settings.interval * settings.misses};
}

KeyRing key_ring(const HeartbeatSettings& settings) {
    KeyRing keys;
    if (settings.key) keys.add(*settings.key, monotonic_now(), settings.key_overlap);
    return keys;
}

// Returns how many datagrams can wait at most. Without the privilege the buffer is as large as allowed.
std::size_t enlarge_receive_buffer(int descriptor) {
    if (::setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer_bytes,
                     sizeof receive_buffer_bytes) != 0)
        (void)::setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes,
                           sizeof receive_buffer_bytes);
    int granted = 0;
    socklen_t length = sizeof granted;
    (void)::getsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &granted, &length);
    return static_cast<std::size_t>(granted) / least_charge_bytes + 1;
}

void check(const HeartbeatSettings& settings) {
    if (settings.links.size() > HeartbeatSettings::max_links)
        throw std::invalid_argument("at most " + std::to_string(HeartbeatSettings::max_links) +
                                    " heartbeat links are possible");
    if (settings.interval < std::chrono::milliseconds(1) || settings.interval > std::chrono::hours(1))
        throw std::invalid_argument("the heartbeat interval must be between 1 ms and one hour");
    if (settings.misses < 1 || settings.misses > 1000)
        throw std::invalid_argument("the heartbeat misses must be between 1 and 1000");
    if (sodium_init() < 0) throw HeartbeatError("the system gives no random numbers for heartbeat nonces");
}

}  // namespace

Instant monotonic_now() {
    return Instant(std::chrono::steady_clock::now().time_since_epoch());
}

LinkAddressing parse_link_addressing(std::string_view text) {
    std::array<std::string_view, 3> parts;
    std::size_t count = 0;
    for (std::string_view rest = text;; ++count) {
        const std::size_t comma = rest.find(',');
        if (count == parts.size())
            throw std::invalid_argument("too many commas in '" + std::string(text) + "'");
        parts[count] = rest.substr(0, comma);
        if (comma == std::string_view::npos) break;
        rest.remove_prefix(comma + 1);
    }
    if (count == 0)
        throw std::invalid_argument("'" + std::string(text) + "' is no LOCAL:PORT,PEER:PORT[,INTERFACE]");
    LinkAddressing link{parse_endpoint(parts[0]), parse_endpoint(parts[1]), std::string(parts[2])};
    if (link.local.protocol() != link.peer.protocol())
        throw std::invalid_argument("'" + std::string(text) + "' mixes IPv4 and IPv6");
    if (link.peer.port() == 0)
        throw std::invalid_argument("'" + std::string(text) + "' needs a peer port above 0");
    return link;
}

std::string to_string(const udp::endpoint& endpoint) {
    const std::string address = endpoint.address().to_string();
    return (endpoint.address().is_v6() ? "[" + address + "]" : address) + ":" +
           std::to_string(endpoint.port());
}

struct HeartbeatService::Impl : std::enable_shared_from_this<Impl> {
    struct Socket {
        LinkAddressing addressing;
        udp::socket socket;
        // False after a socket error, until the next interval: a dead interface must not keep the loop busy.
        bool waiting = false;
        bool alive = false;
        // Datagrams that can wait at most.
        std::size_t capacity = 0;
        // All that arrived before was read.
        Instant read_until{};
        // Once `sweep_left` more datagrams are read, all that arrived before `sweep_from` is.
        Instant sweep_from{};
        std::size_t sweep_left = 0;
    };

    HeartbeatSettings settings;
    SignOfLife on_sign_of_life;
    LinkChange on_link_change;
    OnRepair on_repair;
    OnWords on_words;
    std::size_t repair_turn = 0;
    Session session;
    std::vector<Socket> sockets;
    asio::steady_timer timer;
    bool running = false;

    Impl(asio::io_context& io, const HeartbeatSettings& wanted, SignOfLife sign_of_life,
         LinkChange link_change)
        : settings(wanted),
          on_sign_of_life(std::move(sign_of_life)),
          on_link_change(std::move(link_change)),
          session(link_settings(wanted), wanted.role, key_ring(wanted), unpredictable),
          timer(io) {
        for (std::size_t i = 0; i < settings.links.size(); ++i)
            open(io, i);
    }

    void open(asio::io_context& io, std::size_t index) {
        const LinkAddressing& addressing = settings.links[index];
        udp::socket socket(io);
        error_code error;
        const auto check = [&](const char* what) {
            if (error)
                throw HeartbeatError("heartbeat link " + std::to_string(index) + ": cannot " + what + " " +
                                     to_string(addressing.local) + ": " + error.message());
        };
        socket.open(addressing.local.protocol(), error);
        check("open a socket for");
        if (!addressing.interface.empty() &&
            ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_BINDTODEVICE, addressing.interface.c_str(),
                         static_cast<socklen_t>(addressing.interface.size())) != 0)
            throw HeartbeatError("heartbeat link " + std::to_string(index) + ": cannot use interface " +
                                 addressing.interface + ": " +
                                 error_code(errno, boost::system::system_category()).message());
        socket.bind(addressing.local, error);
        check("bind");
        socket.non_blocking(true, error);
        check("use");
        const std::size_t capacity = enlarge_receive_buffer(socket.native_handle());
        sockets.push_back({.addressing = addressing, .socket = std::move(socket), .capacity = capacity});
    }

    void start() {
        running = true;
        timer.expires_at(std::chrono::steady_clock::now());
        push();
    }

    void stop() {
        running = false;
        timer.cancel();
        for (Socket& link : sockets) {
            error_code ignored;
            link.socket.close(ignored);
        }
    }

    // Sends a Hello on each link. The next expiry is counted from this one, not from now, so that the
    // interval does not drift; intervals that were missed are skipped.
    void push() {
        for (std::size_t i = 0; i < sockets.size(); ++i) {
            wait(i);
            note_alive(i, session.links().status(i, monotonic_now()).alive);
        }
        greet();
        const auto interval =
            std::chrono::duration_cast<std::chrono::steady_clock::duration>(settings.interval);
        const auto late = std::chrono::steady_clock::now() - timer.expiry();
        timer.expires_at(timer.expiry() + interval * (1 + late / interval));
        timer.async_wait([self = shared_from_this()](error_code error) {
            if (!error && self->running) self->push();
        });
    }

    void greet() {
        for (std::size_t i = 0; i < sockets.size(); ++i)
            if (send(i, session.hello(i, monotonic_now()))) ++counters(i).hellos_sent;
    }

    void note_alive(std::size_t index, bool alive) {
        if (std::exchange(sockets[index].alive, alive) != alive && on_link_change)
            on_link_change(index, alive);
    }

    LinkCounters& counters(std::size_t index) { return session.links().counters(index); }

    bool send(std::size_t index, const std::string& bytes) {
        Socket& link = sockets[index];
        error_code error;
        link.socket.send_to(asio::buffer(bytes), link.addressing.peer, 0, error);
        if (error) ++counters(index).send_failures;
        return !error;
    }

    bool send_repair(const proto::v1::Repair& message) {
        for (std::size_t tried = 0; tried < sockets.size() && running; ++tried) {
            const std::size_t index = repair_turn++ % sockets.size();
            if (!session.links().status(index, monotonic_now()).alive) continue;
            const std::string bytes = session.repair(message, monotonic_now());
            if (bytes.empty() || !send(index, bytes)) return false;
            ++counters(index).repairs_sent;
            return true;
        }
        return false;
    }

    void wait(std::size_t index) {
        Socket& link = sockets[index];
        if (link.waiting) return;
        link.waiting = true;
        link.socket.async_wait(udp::socket::wait_read, [self = shared_from_this(), index](error_code error) {
            self->sockets[index].waiting = false;
            if (error || !self->running) return;
            if (self->receive(index)) self->wait(index);
        });
    }

    // False when the socket failed.
    bool receive(std::size_t index) {
        Socket& link = sockets[index];
        const Instant now = monotonic_now();
        if (link.sweep_left == 0) begin_sweep(link, now);
        for (std::size_t i = 0; i < receive_burst && running; ++i) {
            // One byte more than a datagram may have, so that a longer one is seen to be longer.
            std::array<char, max_link_datagram_bytes + 1> buffer;
            udp::endpoint sender;
            error_code error;
            const std::size_t length = link.socket.receive_from(asio::buffer(buffer), sender, 0, error);
            if (error) {
                // A socket that fails has nothing to read either.
                link.read_until = now;
                link.sweep_left = 0;
                if (error == asio::error::would_block || error == asio::error::try_again) return true;
                ++counters(index).receive_errors;
                return false;
            }
            take(index, sender, {buffer.data(), length});
            if (--link.sweep_left == 0) {
                link.read_until = link.sweep_from;
                begin_sweep(link, now);
            }
        }
        return true;
    }

    static void begin_sweep(Socket& link, Instant now) {
        link.sweep_from = now;
        link.sweep_left = link.capacity;
    }

    Instant read_all() {
        Instant until = monotonic_now();
        for (std::size_t i = 0; i < sockets.size() && running; ++i) {
            (void)receive(i);
            until = std::min(until, sockets[i].read_until);
        }
        return until;
    }

    void take(std::size_t index, const udp::endpoint& sender, std::string_view bytes) {
        if (sender != sockets[index].addressing.peer) {
            ++counters(index).refused_not_from_peer;
            return;
        }
        const Instant now = monotonic_now();
        const Session::Taken taken = session.take(index, bytes, now);
        if (!taken.reply.empty() && send(index, taken.reply)) ++counters(index).acks_sent;
        if (taken.repair && on_repair) on_repair(*taken.repair);
        if (!taken.sign_of_life) return;
        note_alive(index, true);
        if (on_sign_of_life) on_sign_of_life(index, now);
        if (on_words && taken.words) on_words(*taken.words, now);
    }
};

HeartbeatService::HeartbeatService(asio::io_context& io, const HeartbeatSettings& settings,
                                   SignOfLife on_sign_of_life, LinkChange on_link_change) {
    check(settings);
    impl_ = std::make_shared<Impl>(io, settings, std::move(on_sign_of_life), std::move(on_link_change));
}

HeartbeatService::~HeartbeatService() {
    impl_->stop();
}

void HeartbeatService::start() {
    impl_->start();
}

Instant HeartbeatService::read_all() {
    return impl_->read_all();
}

void HeartbeatService::stop() {
    impl_->stop();
}

const HeartbeatSettings& HeartbeatService::settings() const {
    return impl_->settings;
}

LinkStatus HeartbeatService::status(std::size_t link) const {
    return impl_->session.links().status(link, monotonic_now());
}

std::optional<Duration> HeartbeatService::peer_interval() const {
    return impl_->session.links().peer_interval();
}

void HeartbeatService::on_repair(OnRepair handler) {
    impl_->on_repair = std::move(handler);
}

void HeartbeatService::on_words(OnWords handler) {
    impl_->on_words = std::move(handler);
}

void HeartbeatService::say(const AgentWord& word) {
    impl_->session.say(word);
    if (impl_->running) impl_->greet();
}

void HeartbeatService::say(const ReplicaWord& word) {
    impl_->session.say(word);
    if (impl_->running) impl_->greet();
}

bool HeartbeatService::send_repair(const proto::v1::Repair& message) {
    return impl_->send_repair(message);
}

bool HeartbeatService::rekey(const HeartbeatKey& key) {
    KeyRing& keys = impl_->session.keys();
    if (keys.empty()) throw std::logic_error("links that began without a key are given one");
    return keys.add(key, monotonic_now(), impl_->settings.key_overlap);
}

std::optional<KeyId> HeartbeatService::newest_key() const {
    const KeyRing& keys = impl_->session.keys();
    if (keys.empty()) return std::nullopt;
    return keys.newest().id();
}

udp::endpoint HeartbeatService::local_endpoint(std::size_t link) const {
    error_code ignored;
    return impl_->sockets.at(link).socket.local_endpoint(ignored);
}

}  // namespace understudy::failover
