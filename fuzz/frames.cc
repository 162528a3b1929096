// Frames of every protocol, in every mode: Ethernet, ARP, IPv4, IPv6, ICMP, TCP, UDP.
//
// Input: one byte for the mode, then frames: how it arrives (1 byte), its length (2 bytes), its bytes.
#include "fuzz/input.hh"
#include "fuzz/world.hh"

using namespace understudy;
using namespace std::chrono_literals;

namespace {

stack::Settings settings_for(std::uint8_t mode) {
    stack::Settings settings;
    settings.services = {*stack::parse_endpoint("10.77.0.1:7000"), *stack::parse_endpoint("[fd00::1]:7000")};
    settings.udp_services = settings.services;
    settings.link_address = *stack::parse_link_address("02:00:00:00:00:02");
    settings.initial_mode = (mode & 1) != 0 ? stack::Mode::silent : stack::Mode::master;
    settings.max_connections = 8;
    settings.unknown_grace = (mode & 2) != 0 ? 0s : 1s;
    settings.shadow.accept_unfilled_checksums = (mode & 4) != 0;
    settings.shadow.cover_inferred = (mode & 8) != 0;
    if ((mode & 16) != 0) settings.vlan = 5;
    if ((mode & 32) != 0) settings.udp.taps = 2;
    settings.udp.hold_datagrams = 8;
    settings.udp.max_peers = 8;
    return settings;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    fuzz::World world(settings_for(input.u8()));
    while (!input.empty()) {
        const std::uint8_t how = input.u8();
        const auto bytes = std::as_bytes(input.take(input.u16()));
        std::vector<std::byte> frame(bytes.begin(), bytes.end());
        if ((how & 4) != 0) fuzz::correct(frame);
        if ((how & 8) != 0) world.pass(50ms);
        if ((how & 16) != 0) world.pass(5s);
        if ((how & 32) != 0) world.promote();
        world.receive(how % 4 == 0 ? stack::Source::service : static_cast<stack::Source>(how % 4 - 1), frame);
        world.check();
        world.take_sent();
    }
    world.pass(20min);
    world.check();
    return 0;
}
