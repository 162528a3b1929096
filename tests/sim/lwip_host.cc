#include "tests/sim/lwip_host.hh"

#include <lwip/etharp.h>
#include <lwip/init.h>
#include <lwip/netif.h>
#include <lwip/tcp.h>
#include <lwip/timeouts.h>
#include <netif/ethernet.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace understudy::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration tick_interval = 5ms;
constexpr std::size_t mtu = 1500;

const EventQueue* clock_queue = nullptr;  // read by sys_now(), which takes no argument

ip_addr_t to_lwip(const stack::IpAddress& address) {
    ip_addr_t result = IPADDR4_INIT(lwip_htonl(address.v4()));
    return result;
}

// lwIP goes on with a closed connection by itself, and must not call for it any more.
void close(tcp_pcb* pcb) {
    tcp_arg(pcb, nullptr);
    tcp_recv(pcb, nullptr);
    tcp_sent(pcb, nullptr);
    tcp_poll(pcb, nullptr, 1);
    tcp_err(pcb, nullptr);
    if (tcp_close(pcb) != ERR_OK) std::abort();  // only for want of memory
}

}  // namespace
}  // namespace understudy::sim

// Takes the place of the library's own, which reads the machine's clock.
extern "C" u32_t sys_now(void) {
    const auto now = understudy::sim::clock_queue->now().time_since_epoch();
    return static_cast<u32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

namespace understudy::sim {

LwipLibrary::LwipLibrary(EventQueue& queue, std::uint64_t seed) : queue_(queue) {
    if (clock_queue != nullptr) throw std::logic_error("lwIP has one state for the whole process");
    clock_queue = &queue;
    std::srand(static_cast<unsigned>(seed));  // what lwIP draws from
    lwip_init();
    tick();
}

void LwipLibrary::tick() {
    sys_check_timeouts();
    queue_.after(tick_interval, [this] { tick(); });
}

LwipHost::LwipHost(const LwipLibrary&, stack::LinkAddress link, stack::IpAddress address, Transmit transmit)
    : link_(link), address_(address), transmit_(std::move(transmit)), netif_(std::make_unique<netif>()) {
    const auto start = [](netif* interface) -> err_t {
        auto& host = *static_cast<LwipHost*>(interface->state);
        interface->name[0] = 's';
        interface->name[1] = 'm';
        interface->mtu = mtu;
        interface->hwaddr_len = 6;
        std::copy(host.link_.octets.begin(), host.link_.octets.end(), interface->hwaddr);
        interface->flags =
            NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP;
        interface->output = etharp_output;
        interface->linkoutput = [](netif* out, pbuf* packet) -> err_t {
            std::vector<std::byte> frame(packet->tot_len);
            pbuf_copy_partial(packet, frame.data(), packet->tot_len, 0);
            static_cast<LwipHost*>(out->state)->send(std::move(frame));
            return ERR_OK;
        };
        return ERR_OK;
    };
    const ip_addr_t own = to_lwip(address);
    ip4_addr_t mask, gateway;
    IP4_ADDR(&mask, 255, 255, 255, 0);
    ip4_addr_set_zero(&gateway);
    if (netif_add(netif_.get(), ip_2_ip4(&own), &mask, &gateway, this, start, ethernet_input) == nullptr)
        throw std::runtime_error("lwIP takes no more interfaces");
}

void LwipHost::start() {
    netif_set_up(netif_.get());
}

LwipHost::~LwipHost() {
    netif_remove(netif_.get());
}

void LwipHost::arrive(const Frame& frame) {
    // lwIP reads, and forwards, whatever its NIC gives it.
    const auto* const destination = reinterpret_cast<const std::uint8_t*>(frame->data());
    const bool ours = std::equal(link_.octets.begin(), link_.octets.end(), destination);
    if (!alive_ || frame->size() < 14 || (!ours && (destination[0] & 1) == 0)) return;
    pbuf* const packet = pbuf_alloc(PBUF_RAW, static_cast<u16_t>(frame->size()), PBUF_RAM);
    if (packet == nullptr) throw std::bad_alloc();
    pbuf_take(packet, frame->data(), static_cast<u16_t>(frame->size()));
    if (netif_->input(packet, netif_.get()) != ERR_OK) pbuf_free(packet);
}

void LwipHost::send(std::vector<std::byte> frame) {
    if (alive_) transmit_(std::make_shared<const std::vector<std::byte>>(std::move(frame)));
}

// --- Echo ---

struct LwipEcho::Server {
    struct Connection {
        tcp_pcb* pcb = nullptr;  // nullptr: closed
        std::vector<std::byte> waiting;
        bool peer_closed = false;

        // Writes what there is room for, and closes once all is written after the peer has closed.
        void go_on() {
            if (pcb == nullptr) return;
            const std::size_t count = std::min<std::size_t>(waiting.size(), tcp_sndbuf(pcb));
            if (count != 0 &&
                tcp_write(pcb, waiting.data(), static_cast<u16_t>(count), TCP_WRITE_FLAG_COPY) == ERR_OK) {
                waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(count));
                tcp_recved(pcb, static_cast<u16_t>(count));
                tcp_output(pcb);
            }
            if (waiting.empty() && peer_closed) close(std::exchange(pcb, nullptr));
        }
    };

    tcp_pcb* listener = nullptr;
    std::vector<std::unique_ptr<Connection>> connections;

    static err_t on_accept(void* self, tcp_pcb* pcb, err_t error) {
        if (error != ERR_OK || pcb == nullptr) return ERR_VAL;
        auto& all = static_cast<Server*>(self)->connections;
        all.push_back(std::make_unique<Connection>());
        Connection& connection = *all.back();
        connection.pcb = pcb;
        tcp_nagle_disable(pcb);
        tcp_arg(pcb, &connection);
        tcp_err(pcb, [](void* c, err_t) { static_cast<Connection*>(c)->pcb = nullptr; });
        tcp_recv(pcb, [](void* c, tcp_pcb*, pbuf* packet, err_t) -> err_t {
            auto& read = *static_cast<Connection*>(c);
            if (packet == nullptr) {
                read.peer_closed = true;
            } else {
                const std::size_t at = read.waiting.size();
                read.waiting.resize(at + packet->tot_len);
                pbuf_copy_partial(packet, read.waiting.data() + at, packet->tot_len, 0);
                pbuf_free(packet);
            }
            read.go_on();
            return ERR_OK;
        });
        tcp_sent(pcb, [](void* c, tcp_pcb*, u16_t) -> err_t {
            static_cast<Connection*>(c)->go_on();
            return ERR_OK;
        });
        const auto poll = [](void* c, tcp_pcb*) -> err_t {
            static_cast<Connection*>(c)->go_on();
            return ERR_OK;
        };
        tcp_poll(pcb, poll, 1);
        return ERR_OK;
    }
};

LwipEcho::LwipEcho(LwipHost& host, std::uint16_t port) : server_(std::make_unique<Server>()) {
    tcp_pcb* const pcb = tcp_new();
    const ip_addr_t own = to_lwip(host.address());
    tcp_bind_netif(pcb, &host.interface());
    if (tcp_bind(pcb, &own, port) != ERR_OK) throw std::runtime_error("lwIP does not bind");
    server_->listener = tcp_listen(pcb);
    tcp_arg(server_->listener, server_.get());
    tcp_accept(server_->listener, Server::on_accept);
}

LwipEcho::~LwipEcho() {
    for (const auto& connection : server_->connections)
        if (connection->pcb != nullptr) tcp_abort(connection->pcb);
    tcp_close(server_->listener);
}

std::uint64_t LwipEcho::accepted() const {
    return server_->connections.size();
}

// --- Client ---

struct LwipClient::Session {
    EventQueue& queue;
    const Plan plan;
    const Pattern pattern;
    tcp_pcb* pcb = nullptr;  // nullptr: closed
    std::size_t next_message = 0;
    std::uint64_t allowed = 0;  // the end of the current message
    std::uint64_t sent = 0, received = 0;
    bool done = false;
    std::string fault;

    Session(EventQueue& q, const Plan& p) : queue(q), plan(p), pattern(p.pattern_key) {}

    void fail(std::string what) {
        if (fault.empty()) fault = std::move(what);
        done = true;
    }

    void next() {
        if (pcb == nullptr || done) return;
        if (next_message < plan.message_bytes.size()) {
            allowed += plan.message_bytes[next_message++];
            return go_on();
        }
        close(std::exchange(pcb, nullptr));
        done = true;
    }

    void go_on() {
        if (pcb == nullptr || sent == allowed) return;
        const auto room = std::min<std::uint64_t>(allowed - sent, tcp_sndbuf(pcb));
        if (room == 0) return;
        const auto bytes = pattern.bytes(sent, static_cast<std::size_t>(room));
        if (tcp_write(pcb, bytes.data(), static_cast<u16_t>(room), TCP_WRITE_FLAG_COPY) != ERR_OK) return;
        sent += room;
        tcp_output(pcb);
    }

    void take(pbuf* packet) {
        std::vector<std::byte> bytes(packet->tot_len);
        pbuf_copy_partial(packet, bytes.data(), packet->tot_len, 0);
        tcp_recved(pcb, packet->tot_len);
        pbuf_free(packet);
        if (const auto wrong = pattern.first_difference(received, bytes))
            fail(fmt::format("wrong byte at offset {}", *wrong));
        received += bytes.size();
        if (received > sent) fail(fmt::format("{} bytes came back of {} sent", received, sent));
        if (received == allowed) queue.after(plan.think, [this] { next(); });
    }
};

LwipClient::LwipClient(LwipHost& host, EventQueue& queue, const Plan& plan)
    : session_(std::make_unique<Session>(queue, plan)) {
    tcp_pcb* const pcb = tcp_new();
    session_->pcb = pcb;
    const ip_addr_t own = to_lwip(host.address()), server = to_lwip(plan.server.address);
    tcp_bind_netif(pcb, &host.interface());
    if (tcp_bind(pcb, &own, plan.port) != ERR_OK) throw std::runtime_error("lwIP does not bind");
    tcp_nagle_disable(pcb);
    tcp_arg(pcb, session_.get());
    tcp_err(pcb, [](void* s, err_t error) {
        auto& session = *static_cast<Session*>(s);
        session.pcb = nullptr;
        session.fail(fmt::format("lwIP gave up: error {}, after {} bytes", int{error}, session.received));
    });
    tcp_recv(pcb, [](void* s, tcp_pcb*, pbuf* packet, err_t) -> err_t {
        auto& session = *static_cast<Session*>(s);
        if (packet != nullptr)
            session.take(packet);
        else
            session.fail("the server closed first");
        return ERR_OK;
    });
    tcp_sent(pcb, [](void* s, tcp_pcb*, u16_t) -> err_t {
        static_cast<Session*>(s)->go_on();
        return ERR_OK;
    });
    const auto poll = [](void* s, tcp_pcb*) -> err_t {
        static_cast<Session*>(s)->go_on();
        return ERR_OK;
    };
    tcp_poll(pcb, poll, 1);
    const auto connected = [](void* s, tcp_pcb*, err_t) -> err_t {
        static_cast<Session*>(s)->next();
        return ERR_OK;
    };
    if (tcp_connect(pcb, &server, plan.server.port, connected) != ERR_OK)
        throw std::runtime_error("lwIP does not connect");
}

LwipClient::~LwipClient() {
    if (session_->pcb != nullptr) {
        tcp_err(session_->pcb, nullptr);
        tcp_abort(session_->pcb);
    }
}

bool LwipClient::is_done() const {
    return session_->done;
}
const std::string& LwipClient::fault() const {
    return session_->fault;
}
std::uint64_t LwipClient::received() const {
    return session_->received;
}

}  // namespace understudy::sim
