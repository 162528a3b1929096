#include "tap/packet_socket.hh"

#include <linux/if_packet.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <string>

namespace understudy::tap {
namespace {

bool is_bound_to(int descriptor, int interface_index) {
    sockaddr_ll address{};
    socklen_t length = sizeof address;
    return getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
           address.sll_family == AF_PACKET && address.sll_ifindex == interface_index;
}

// Of this process, sorted; none where there is no /proc.
std::vector<int> packet_sockets(int interface_index) {
    std::vector<int> found;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
        const std::string name = entry.path().filename();
        int descriptor = -1;
        std::from_chars(name.data(), name.data() + name.size(), descriptor);
        if (is_bound_to(descriptor, interface_index)) found.push_back(descriptor);
    }
    std::sort(found.begin(), found.end());
    return found;
}

}  // namespace

PacketSocketDrops::PacketSocketDrops(int interface_index)
    : interface_index_(interface_index), others_(packet_sockets(interface_index)) {}

void PacketSocketDrops::watch_new() {
    const std::vector<int> now = packet_sockets(interface_index_);
    watched_.clear();
    std::set_difference(now.begin(), now.end(), others_.begin(), others_.end(), std::back_inserter(watched_));
}

std::uint64_t PacketSocketDrops::total() {
    for (const int descriptor : watched_) {
        tpacket_stats since_last_asked{};  // the kernel begins again at each question
        socklen_t length = sizeof since_last_asked;
        if (getsockopt(descriptor, SOL_PACKET, PACKET_STATISTICS, &since_last_asked, &length) == 0)
            total_ += since_last_asked.tp_drops;
    }
    return total_;
}

}  // namespace understudy::tap
