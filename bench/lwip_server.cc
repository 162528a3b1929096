#include "bench/lwip_server.hh"

#include <lwip/init.h>
#include <lwip/netif.h>
#include <lwip/tcp.h>
#include <lwip/timeouts.h>
#include <netif/ethernet.h>

#include <algorithm>
#include <stdexcept>

namespace {

std::uint32_t lwip_now_ms = 0;  // read by sys_now(), which takes no argument

}  // namespace

// Takes the place of the library's own, which reads the machine's clock.
extern "C" u32_t sys_now(void) {
    return lwip_now_ms;
}

namespace understudy::bench {
namespace {

const eth_addr& to_lwip(const stack::LinkAddress& address) {
    return reinterpret_cast<const eth_addr&>(address);
}

err_t send_frame(netif* out, pbuf* packet) {
    auto& server = *static_cast<LwipServer*>(out->state);
    pbuf_copy_partial(packet, server.out().data(), packet->tot_len, 0);
    server.sent(server.out().first(packet->tot_len));
    return ERR_OK;
}

err_t start(netif* interface) {
    interface->name[0] = 'b';
    interface->name[1] = 'n';
    interface->mtu = 1500;
    interface->hwaddr_len = 6;
    std::copy(service_link.octets.begin(), service_link.octets.end(), interface->hwaddr);
    interface->flags = NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP;
    // Every client has one link-level address: no ARP.
    interface->output = [](netif* out, pbuf* packet, const ip4_addr_t*) {
        return ethernet_output(out, packet, &to_lwip(service_link), &to_lwip(client_link), ETHTYPE_IP);
    };
    interface->linkoutput = send_frame;
    return ERR_OK;
}

err_t on_received(void* self, tcp_pcb* pcb, pbuf* packet, err_t) {
    auto& server = *static_cast<LwipServer*>(self);
    if (packet == nullptr) return ERR_OK;
    for (const pbuf* piece = packet; piece != nullptr; piece = piece->next)
        server.received(pcb, {static_cast<const std::byte*>(piece->payload), piece->len});
    tcp_recved(pcb, packet->tot_len);
    pbuf_free(packet);
    return ERR_OK;
}

err_t on_accepted(void* self, tcp_pcb* pcb, err_t) {
    if (pcb == nullptr) return ERR_VAL;
    tcp_nagle_disable(pcb);
    tcp_arg(pcb, self);
    tcp_recv(pcb, on_received);
    tcp_err(pcb, [](void* server, err_t) { static_cast<LwipServer*>(server)->ended(nullptr); });
    static_cast<LwipServer*>(self)->accepted(pcb);
    return ERR_OK;
}

}  // namespace

LwipServer::LwipServer(std::size_t connections)
    : Server(connections), netif_(std::make_unique<netif>()), pcbs_(connections) {
    static const bool once = (lwip_init(), true);
    (void)once;
    const ip_addr_t own = IPADDR4_INIT(lwip_htonl(service.address.v4()));
    const ip4_addr_t everybody = {0};  // on this link
    if (netif_add(netif_.get(), ip_2_ip4(&own), &everybody, &everybody, this, start, ethernet_input) ==
        nullptr)
        throw std::runtime_error("lwIP takes no more interfaces");
    netif_set_up(netif_.get());
    tcp_pcb* const pcb = tcp_new();
    if (tcp_bind(pcb, &own, service.port) != ERR_OK) throw std::runtime_error("lwIP does not bind");
    listener_ = tcp_listen(pcb);
    tcp_arg(listener_, this);
    tcp_accept(listener_, on_accepted);
    open_all();
}

LwipServer::~LwipServer() {
    for (tcp_pcb* const pcb : pcbs_) {
        tcp_err(pcb, nullptr);
        tcp_abort(pcb);
    }
    tcp_close(listener_);
    netif_remove(netif_.get());
}

void LwipServer::receive(std::span<const stack::ReceivedFrame> burst) {
    for (const stack::ReceivedFrame& frame : burst) {
        // Not copied; lwIP turns the headers' byte order in place, in a buffer that is written anew.
        auto* const bytes = const_cast<std::byte*>(frame.bytes.data());
        pbuf* const packet = pbuf_alloc_reference(bytes, static_cast<u16_t>(frame.bytes.size()), PBUF_REF);
        if (netif_->input(packet, netif_.get()) != ERR_OK) pbuf_free(packet);
    }
}

void LwipServer::advance() {
    lwip_now_ms = static_cast<std::uint32_t>(now().time_since_epoch() / std::chrono::milliseconds(1));
    sys_check_timeouts();
}

void LwipServer::write(std::size_t client, std::span<const std::byte> bytes) {
    tcp_pcb* const pcb = pcbs_[client];
    if (tcp_write(pcb, bytes.data(), static_cast<u16_t>(bytes.size()), TCP_WRITE_FLAG_COPY) != ERR_OK)
        ++ended_;
    tcp_output(pcb);
}

void LwipServer::accepted(tcp_pcb* pcb) {
    pcbs_[client_of(
        {stack::IpAddress::from_v4(lwip_ntohl(ip_2_ip4(&pcb->remote_ip)->addr)), pcb->remote_port})] = pcb;
    ++opened_;
}

void LwipServer::received(tcp_pcb* pcb, std::span<const std::byte> bytes) {
    bytes_received_ += bytes.size();
    if (behaviour == Behaviour::discard) return;
    if (tcp_write(pcb, bytes.data(), static_cast<u16_t>(bytes.size()), TCP_WRITE_FLAG_COPY) != ERR_OK)
        ++ended_;
    tcp_output(pcb);
}

void LwipServer::ended(const tcp_pcb*) {
    ++ended_;
}

}  // namespace understudy::bench
