// A stack with a UDP service; client and primary are played by the test.
#pragma once

#include <gtest/gtest.h>

#include "tests/unit/stack/udp_frames.hh"

namespace understudy::stack::test {

inline Settings udp_settings(Mode mode) {
    Settings settings = settings_for(mode);
    settings.udp_services = {service_endpoint};
    return settings;
}

class UdpHost : public ::testing::Test {
  protected:
    using Datagram = UdpPacket;

    explicit UdpHost(const Settings& settings) : host(settings) {}

    void inject(const Datagram& datagram, Source source, std::uint8_t tap = 0) {
        const auto frame = test::encode(datagram);
        const ReceivedFrame received{source, frame, static_cast<std::uint32_t>(frame.size()), false, tap};
        host.stack.receive(std::span(&received, 1), host.now);
    }
    static Datagram of_client(std::string payload) { return {.payload = std::move(payload)}; }
    static Datagram of_primary(std::string payload) { return udp_answer(std::move(payload)); }
    void client_on_tap(std::string payload) {
        inject(of_client(std::move(payload)), Source::tap_from_client);
    }
    void primary_on_tap(std::string payload) {
        inject(of_primary(std::move(payload)), Source::tap_from_primary);
    }
    void client(std::string payload) {
        Datagram datagram = of_client(std::move(payload));
        datagram.link_destination = replica_link;
        inject(datagram, Source::service);
    }
    bool answer(std::string_view text, const Endpoint& to = client_endpoint) {
        return host.stack.send_datagram(service_endpoint, to, as_bytes(text), host.now);
    }

    // The next datagram that was sent, its checksums right; frames of other kinds are passed over.
    std::optional<Datagram> sent() {
        while (!host.wire.frames.empty()) {
            const auto frame = std::move(host.wire.frames.front());
            host.wire.frames.pop_front();
            if (const auto datagram = decode_datagram(frame)) return datagram;
        }
        return std::nullopt;
    }
    std::string sent_text() {
        const auto datagram = sent();
        return datagram ? datagram->payload : "nothing";
    }
    const Counters& counters() const { return host.stack.counters(); }

    Host host;
};

}  // namespace understudy::stack::test
