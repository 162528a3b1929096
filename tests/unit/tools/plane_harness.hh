// A data plane of several cores over in-memory ports, turned by hand, and the conversations that a mirror
// shows it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tap/memory_port.hh"
#include "tests/unit/stack/harness.hh"
#include "tools/daemon/data_plane.hh"

namespace understudy::tools::test {

using namespace std::chrono_literals;
using stack::Instant;
using stack::Mode;
using stack::Seq;
using stack::test::client_link;
using stack::test::Packet;
using stack::test::primary_link;
using stack::test::replica_link;
using stack::test::service_endpoint;
using stack::wire::TcpFlags;
using Frames = std::vector<std::vector<std::byte>>;

// One client and what the primary answers; both directions as the mirror shows them.
class Conversation {
  public:
    explicit Conversation(std::uint16_t number)
        : client_{*stack::parse_ip_address("10.77.1." + std::to_string(number % 250 + 1)),
                  static_cast<std::uint16_t>(40000 + number)} {}

    const stack::Endpoint& client() const { return client_; }

    Packet syn() const {
        Packet packet = from_client(TcpFlags::syn);
        packet.tcp.seq = Seq(client_isn);
        packet.tcp.options.mss = 1460;
        return packet;
    }
    Packet syn_ack() const {
        Packet packet = from_primary(TcpFlags::syn | TcpFlags::ack);
        packet.tcp.seq = Seq(server_isn);
        packet.tcp.options.mss = 1460;
        return packet;
    }
    Packet ack() const { return from_client(TcpFlags::ack); }
    Packet request(const std::string& text) {
        Packet packet = from_client(TcpFlags::ack);
        packet.payload = text;
        client_sent_ += static_cast<std::uint32_t>(text.size());
        return packet;
    }
    Packet answer(const std::string& text) {
        Packet packet = from_primary(TcpFlags::ack);
        packet.payload = text;
        server_sent_ += static_cast<std::uint32_t>(text.size());
        return packet;
    }
    // What the client sends after the takeover reaches the replica.
    Packet to_replica(Packet packet) const {
        packet.link_destination = replica_link;
        return packet;
    }

  private:
    static constexpr std::uint32_t client_isn = 1000, server_isn = 5000;

    Packet from_client(std::uint8_t flags) const {
        Packet packet;
        packet.link_destination = primary_link;
        packet.source = client_;
        packet.tcp.seq = Seq(client_isn + 1 + client_sent_);
        if ((flags & TcpFlags::ack) != 0) packet.tcp.ack = Seq(server_isn + 1 + server_sent_);
        packet.tcp.flags.bits = flags;
        packet.tcp.window = 20000;
        return packet;
    }
    Packet from_primary(std::uint8_t flags) const {
        Packet packet = from_client(flags);
        packet.link_source = primary_link;
        packet.link_destination = client_link;
        std::swap(packet.source, packet.destination);
        packet.tcp.seq = Seq(server_isn + 1 + server_sent_);
        packet.tcp.ack = Seq(client_isn + 1 + client_sent_);
        return packet;
    }

    stack::Endpoint client_;
    std::uint32_t client_sent_ = 0;
    std::uint32_t server_sent_ = 0;
};

class Plane {
  public:
    struct Shape {
        std::size_t cores = 2;
        std::size_t taps = 1;
        std::size_t tap_queues = 1;
        std::size_t service_queues = 1;
        std::size_t ring_bytes = 0;  // the least there is
        DataPlane::MakeApplication make_application = nullptr;
        Core::Clock clock = nullptr;
        tap::PortOffloads offloads{};  // of the service port
        bool udp = false;              // the service is there over UDP as well
    };

    explicit Plane(const Shape& shape) {
        DataPlane::Settings settings;
        settings.cores = shape.cores;
        settings.ring_bytes = shape.ring_bytes;
        settings.stack = stack::test::settings_for(Mode::silent);
        settings.classifier.primary_link = primary_link.octets;
        settings.classifier.services = {{service_endpoint.address.octets, service_endpoint.port}};
        settings.applications = {{service_endpoint, "echo"}};
        if (shape.udp) {
            settings.stack.udp_services = {service_endpoint};
            settings.classifier.services.push_back(
                {service_endpoint.address.octets, service_endpoint.port, tap::Transport::udp});
            settings.datagram_applications = {{service_endpoint, "udp-echo"}};
        }
        settings.make_application = shape.make_application;
        settings.clock = shape.clock ? shape.clock : [this] { return now; };
        auto service_port = std::make_unique<tap::MemoryPort>(1500, 1 << 20, shape.service_queues);
        service_port->set_offloads(shape.offloads);
        service = service_port.get();
        std::vector<std::unique_ptr<tap::Port>> tap_ports;
        for (std::size_t i = 0; i < shape.taps; ++i) {
            auto port = std::make_unique<tap::MemoryPort>(1500, 512, shape.tap_queues);
            taps.push_back(port.get());
            tap_ports.push_back(std::move(port));
        }
        tap = taps.front();
        plane = std::make_unique<DataPlane>(settings, std::move(tap_ports), std::move(service_port));
    }

    void mirror(const Packet& packet, std::size_t queue = 0) {
        tap->push(stack::test::encode(packet), 0, queue % tap->queues());
    }
    // As one of several mirrors shows it.
    void mirror_on(std::size_t which, const Packet& packet) { taps[which]->push(stack::test::encode(packet)); }
    // The same conversation on any queue that the mirror's hardware likes.
    void mirror_handshake(const Conversation& conversation, std::size_t queue = 0) {
        mirror(conversation.syn(), queue);
        mirror(conversation.syn_ack(), queue + 1);
        mirror(conversation.ack(), queue);
    }
    void mirror_echo(Conversation& conversation, const std::string& text, std::size_t queue = 0) {
        mirror(conversation.request(text), queue);
        mirror(conversation.answer(text), queue + 1);
        mirror(conversation.ack(), queue);
    }
    void arrive(const Packet& packet, std::size_t queue = 0) {
        service->push(stack::test::encode(packet), 0, queue % service->queues());
    }

    // Turns the cores until none finds anything to do.
    void settle() {
        for (bool worked = true; worked;) {
            worked = false;
            for (std::size_t i = 0; i < plane->cores(); ++i)
                worked = plane->core(i).turn() != 0 || worked;
        }
    }
    void pass(stack::Duration time) {
        for (const Instant end = now + time; now < end; now += 1ms)
            settle();
    }
    TakeoverRecord take_over() {
        std::optional<TakeoverRecord> record;
        EXPECT_TRUE(plane->take_over([&record](const TakeoverRecord& r) { record = r; }));
        for (int turns = 0; !record && turns < 10000; ++turns)
            for (std::size_t i = 0; i < plane->cores(); ++i)
                plane->core(i).turn();
        EXPECT_TRUE(record.has_value());
        return record.value_or(TakeoverRecord{});
    }
    CoverageCount coverage() {
        CoverageCount count;
        for (std::size_t i = 0; i < plane->cores(); ++i)
            count.add(plane->core(i).count_coverage());
        return count;
    }
    std::uint64_t sum(std::uint64_t stack::Counters::*counter) {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < plane->cores(); ++i)
            value += plane->core(i).stack().counters().*counter;
        return value;
    }
    std::uint64_t sum(std::uint64_t (Core::*counter)() const) {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < plane->cores(); ++i)
            value += (plane->core(i).*counter)();
        return value;
    }
    // What left by all queues since the last call, queue by queue.
    Frames take_sent() {
        Frames frames;
        for (std::size_t queue = 0; queue < service->queues(); ++queue)
            for (auto& frame : service->take_sent(queue))
                frames.push_back(std::move(frame));
        return frames;
    }

    Instant now{1h};
    std::vector<tap::MemoryPort*> taps;
    tap::MemoryPort* tap;  // the first
    tap::MemoryPort* service;
    std::unique_ptr<DataPlane> plane;
};

inline bool is_arp(const std::vector<std::byte>& frame) {
    const auto link = stack::wire::parse_ethernet(frame);
    return link && link->type == stack::wire::EtherType::arp;
}

}  // namespace understudy::tools::test
