#include "tap/dpdk_port.hh"

#include <netinet/in.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "tap/kernel_interface.hh"
#include "tap/packet_socket.hh"
#include "tap/segmentation.hh"

namespace understudy::tap {
namespace {

constexpr unsigned most_buffers = 8192;
constexpr unsigned fewest_buffers = 1024;
constexpr unsigned buffer_cache = 256;
constexpr std::uint16_t wanted_descriptors = 1024;
constexpr std::uint16_t only_queue = 0;
constexpr std::uint16_t max_burst = 64;
constexpr std::size_t transmit_batch = 32;
constexpr std::uint32_t largest_packet = 65'535;  // of IP
// With link header and two tags.
constexpr std::size_t largest_frame = largest_packet + 14 + 8;
// How often a device that takes nothing is asked again before the rest of the batch is dropped.
constexpr unsigned transmit_retries = 16;

// Names memory pools; only raised, for two pools of one name cannot be.
std::atomic<unsigned> pool_number{0};

// What DPDK logs while it lives, for the reason in one error line.
class LogCapture {
  public:
    LogCapture() : stream_(open_memstream(&text_, &length_)) { rte_openlog_stream(stream_); }
    ~LogCapture() {
        rte_openlog_stream(nullptr);
        if (stream_ != nullptr) std::fclose(stream_);
        std::free(text_);
    }
    LogCapture(const LogCapture&) = delete;
    LogCapture& operator=(const LogCapture&) = delete;

    // " (first line)", or nothing when DPDK gave no reason.
    std::string reason() const {
        if (stream_ == nullptr || std::fflush(stream_) != 0 || length_ == 0) return {};
        const std::string text(text_, length_);
        return " (" + text.substr(0, text.find('\n')) + ")";
    }

  private:
    char* text_ = nullptr;
    std::size_t length_ = 0;
    std::FILE* stream_;
};

// Gives a polling thread an lcore id, which makes its memory pool cache work, until the thread ends.
class LcoreRegistration {
  public:
    LcoreRegistration() : registered_(rte_lcore_id() == LCORE_ID_ANY && rte_thread_register() == 0) {}
    ~LcoreRegistration() {
        if (registered_) rte_thread_unregister();
    }
    LcoreRegistration(const LcoreRegistration&) = delete;
    LcoreRegistration& operator=(const LcoreRegistration&) = delete;

  private:
    bool registered_;
};

// The value of `key` in "name,key=value,...".
std::string argument_of(const std::string& device, const std::string& key) {
    const std::size_t at = device.find("," + key + "=");
    if (at == std::string::npos) return {};
    const std::size_t begin = at + key.size() + 2;
    return device.substr(begin, device.find(',', begin) - begin);
}

// Owned by this port alone, as DPDK keeps account of it: a second port over the same device is refused.
void take_ownership(std::uint16_t id, const std::string& spec) {
    rte_eth_dev_owner owner{};
    rte_eth_dev_owner_new(&owner.id);
    std::snprintf(owner.name, sizeof owner.name, "understudy");
    if (rte_eth_dev_owner_set(id, &owner) != 0) throw PortError(spec + ": the device is open already");
}

// net_tap makes its interface; the others need it to be there.
void require_interface(const std::string& spec, const KernelInterface& interface) {
    if (!interface.exists())
        throw PortError(spec + ": there is no interface " + interface.name() + ": see `ip link`");
    if (!interface.up())
        throw PortError(spec + ": interface " + interface.name() + " is down: `ip link set` it up");
}

// A started device with its memory pool; stops and unplugs it at the end.
class Device {
  public:
    Device(const std::string& device, const std::string& spec, const PortOptions& options) : spec_(spec) {
        plug(device);
        try {
            configure();
            start(options);
        } catch (...) {
            unplug();
            throw;
        }
    }
    ~Device() { unplug(); }
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    std::uint16_t id() const { return id_; }
    rte_mempool* pool() const { return pool_; }
    const char* driver() const { return info_.driver_name; }
    const PortOffloads& offloads() const { return offloads_; }
    // Buffers that one frame to send may be in.
    std::size_t most_pieces() const { return most_pieces_; }
    // net_tap cuts with DPDK's library, which knows IPv4 alone.
    bool cuts_v6() const {
        return offloads_.segmentation_bytes != 0 && std::string_view(driver()) != "net_tap";
    }

  private:
    void plug(const std::string& device) {
        const std::string name = device.substr(0, device.find(','));
        const LogCapture log;
        if (rte_eth_dev_get_port_by_name(name.c_str(), &id_) != 0) {
            const int status = rte_dev_probe(device.c_str());
            if (status != 0 || rte_eth_dev_get_port_by_name(name.c_str(), &id_) != 0)
                throw PortError(spec_ + ": DPDK cannot plug the device in: " +
                                rte_strerror(status != 0 ? -status : ENODEV) + log.reason());
        }
        take_ownership(id_, spec_);
        check(rte_eth_dev_info_get(id_, &info_), "the device says nothing of itself", log);
    }

    void configure() {
        const LogCapture log;
        rte_eth_conf configuration{};
        choose_offloads(configuration);
        check(rte_eth_dev_configure(id_, 1, 1, &configuration), "cannot configure the device", log);
        std::uint16_t receive = wanted_descriptors, transmit = wanted_descriptors;
        check(rte_eth_dev_adjust_nb_rx_tx_desc(id_, &receive, &transmit), "cannot size the queues", log);
        make_pool(log);
        const int socket = rte_eth_dev_socket_id(id_);
        const auto on = static_cast<unsigned>(socket);
        check(rte_eth_rx_queue_setup(id_, only_queue, receive, on, nullptr, pool_), "no receive queue", log);
        check(rte_eth_tx_queue_setup(id_, only_queue, transmit, on, nullptr), "no transmit queue", log);
    }

    // Each of them only where the device has it: the rest is done in software.
    void choose_offloads(rte_eth_conf& configuration) {
        constexpr std::uint64_t checked = RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
        constexpr std::uint64_t filled = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
        constexpr std::uint64_t cut = filled | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO |
                                      RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
        configuration.rxmode.offloads = info_.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
        configuration.txmode.offloads = info_.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
        if ((info_.rx_offload_capa & checked) == checked) configuration.rxmode.offloads |= checked;
        if ((info_.tx_offload_capa & filled) == filled) configuration.txmode.offloads |= filled;
        // A chain of buffers is not what a driver may free in its fast way.
        if ((info_.tx_offload_capa & cut) == cut) configuration.txmode.offloads = cut;
        const bool cuts = configuration.txmode.offloads == cut;
        offloads_ = {.scattered_receive = (configuration.rxmode.offloads & RTE_ETH_RX_OFFLOAD_SCATTER) != 0,
                     .receive_checksums = (configuration.rxmode.offloads & checked) != 0,
                     .transmit_checksums = (configuration.txmode.offloads & filled) != 0,
                     .segmentation_bytes = cuts ? largest_packet : 0};
        most_pieces_ = std::clamp<std::size_t>(info_.tx_desc_lim.nb_seg_max, 1, most_pieces_);
    }

    // Without huge pages memory is short: rather a smaller pool than none.
    void make_pool(const LogCapture& log) {
        const std::string name = "understudy-" + std::to_string(pool_number.fetch_add(1));
        for (unsigned count = most_buffers; pool_ == nullptr && count >= fewest_buffers; count /= 2)
            pool_ = rte_pktmbuf_pool_create(name.c_str(), count, buffer_cache, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
                                            SOCKET_ID_ANY);
        if (pool_ == nullptr)
            check(-rte_errno, "no memory for packet buffers: give the EAL more with -m", log);
    }

    void start(const PortOptions& options) {
        const LogCapture log;
        check(rte_eth_dev_start(id_), "the device does not start", log);
        if (!options.promiscuous) return;
        // A device that hands out every frame anyway may have no such mode.
        const int status = rte_eth_promiscuous_enable(id_);
        if (status != -ENOTSUP) check(status, "no promiscuous mode", log);
        promiscuous_ = status == 0;
    }

    void check(int status, const char* what, const LogCapture& log) const {
        if (status < 0) throw PortError(spec_ + ": " + what + ": " + rte_strerror(-status) + log.reason());
    }

    void unplug() {
        const LogCapture log;
        // The kernel keeps an interface promiscuous until it is told otherwise.
        if (promiscuous_) rte_eth_promiscuous_disable(id_);
        rte_eth_dev_stop(id_);
        rte_eth_dev_close(id_);
        if (info_.device != nullptr) rte_dev_remove(info_.device);
        rte_mempool_free(pool_);
    }

    std::string spec_;
    std::uint16_t id_ = 0;
    rte_eth_dev_info info_{};
    rte_mempool* pool_ = nullptr;
    PortOffloads offloads_;
    std::size_t most_pieces_ = 64;
    bool promiscuous_ = false;
};

class DpdkPort final : public Port {
  public:
    DpdkPort(const std::string& device, const PortOptions& options)
        : spec_("dpdk:" + device),
          interface_(open_interface(device, spec_)),
          kernel_drops_(interface_ ? interface_->index() : 0),
          device_(device, spec_, options) {
        if (driver() == "net_af_packet") kernel_drops_.watch_new();
        rte_ether_addr address{};
        if (rte_eth_macaddr_get(device_.id(), &address) == 0)
            std::copy(std::begin(address.addr_bytes), std::end(address.addr_bytes), link_address_.begin());
        mtu_ = read_mtu();
        rte_eth_stats_get(device_.id(), &at_open_);
    }

    ~DpdkPort() override {
        rte_pktmbuf_free(reserved_);
        flush();
    }

    void adopt_polling_thread() override { thread_local const LcoreRegistration registration; }

    std::size_t receive(std::span<Frame> out) override {
        std::array<rte_mbuf*, max_burst> buffers;
        const auto wanted = static_cast<std::uint16_t>(std::min<std::size_t>(out.size(), max_burst));
        const std::uint16_t count = rte_eth_rx_burst(device_.id(), only_queue, buffers.data(), wanted);
        std::size_t good = 0;
        gathered_ = 0;
        for (rte_mbuf* buffer : std::span(buffers).first(count)) {
            const auto bytes = bytes_of(*buffer);
            if (bytes.empty()) {
                ++statistics_.receive_errors;
                rte_pktmbuf_free(buffer);
                continue;
            }
            const bool checked =
                (buffer->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD;
            out[good++] = {.bytes = bytes,
                           .wire_length = buffer->pkt_len,
                           .handle = buffer,
                           .transport_checked = checked && device_.offloads().receive_checksums};
            statistics_.received_bytes += buffer->pkt_len;
        }
        statistics_.received_frames += good;
        return good;
    }

    void release(std::span<const Frame> frames) override {
        for (const Frame& frame : frames)
            rte_pktmbuf_free(static_cast<rte_mbuf*>(frame.handle));
    }

    std::span<std::byte> reserve(std::size_t length) override {
        if (reserved_ != nullptr && reserved_->nb_segs > 1) {
            rte_pktmbuf_free(reserved_);
            reserved_ = nullptr;
        }
        if (reserved_ == nullptr) reserved_ = rte_pktmbuf_alloc(device_.pool());
        if (reserved_ == nullptr || length == 0 || length > mtu_ + RTE_ETHER_HDR_LEN) {
            ++statistics_.no_buffer;
            return {};
        }
        rte_pktmbuf_reset(reserved_);
        char* bytes = rte_pktmbuf_append(reserved_, static_cast<std::uint16_t>(length));
        if (bytes == nullptr) {
            ++statistics_.no_buffer;
            return {};
        }
        return {reinterpret_cast<std::byte*>(bytes), length};
    }

    void commit() override {
        if (reserved_ == nullptr || reserved_->data_len == 0) return;
        if (device_.offloads().transmit_checksums) ask_for_checksum(*reserved_);
        enqueue_reserved();
    }

    // Each piece is a buffer of its own: one segment's payload fits into it as the segment itself would.
    std::span<std::byte> extend(std::size_t length) override {
        if (reserved_ == nullptr || reserved_->data_len == 0 || reserved_->nb_segs == device_.most_pieces() ||
            reserved_->pkt_len + length > device_.offloads().segmentation_bytes)
            return {};
        rte_mbuf* const piece = rte_pktmbuf_alloc(device_.pool());
        if (piece == nullptr) return {};
        char* const bytes = rte_pktmbuf_append(piece, static_cast<std::uint16_t>(length));
        if (bytes == nullptr || rte_pktmbuf_chain(reserved_, piece) != 0) {
            rte_pktmbuf_free(piece);
            return {};
        }
        return {reinterpret_cast<std::byte*>(bytes), length};
    }

    void commit_segments(std::uint16_t segment_bytes) override {
        if (reserved_ == nullptr || reserved_->data_len == 0) return;
        ask_for_checksum(*reserved_);
        const bool v4 = (reserved_->ol_flags & RTE_MBUF_F_TX_IPV4) != 0;
        if (!v4 && !device_.cuts_v6()) return cut_in_software(segment_bytes);
        ask_for_cutting(*reserved_, v4, segment_bytes);
        enqueue_reserved();
    }

    void flush() override {
        std::uint16_t done = 0;
        for (unsigned tries = 0; done < batched_ && tries <= transmit_retries; ++tries) {
            const std::uint64_t bytes = bytes_from(done);
            const auto rest = static_cast<std::uint16_t>(batched_ - done);
            const std::uint16_t taken = rte_eth_tx_burst(device_.id(), only_queue, &batch_[done], rest);
            done = static_cast<std::uint16_t>(done + taken);
            statistics_.sent_frames += taken;
            statistics_.sent_bytes += bytes - bytes_from(done);
            if (taken != 0) tries = 0;
        }
        statistics_.send_failures += batched_ - done;
        for (; done < batched_; ++done)
            rte_pktmbuf_free(batch_[done]);
        batched_ = 0;
    }

    std::array<std::uint8_t, 6> link_address() const override { return link_address_; }

    // Drivers over a kernel interface report a link that is always up; the kernel knows better.
    bool carrier() const override {
        if (interface_ && !interface_->carrier()) return false;
        rte_eth_link link{};
        return rte_eth_link_get_nowait(device_.id(), &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
    }

    std::size_t mtu() const override { return mtu_; }
    PortOffloads offloads() const override { return device_.offloads(); }

    PortStatistics statistics() const override {
        PortStatistics statistics = statistics_;
        rte_eth_stats device{};
        if (rte_eth_stats_get(device_.id(), &device) != 0) return statistics;
        statistics.missed_frames =
            device.imissed - at_open_.imissed + device.rx_nombuf - at_open_.rx_nombuf + kernel_drops_.total();
        statistics.receive_errors += device.ierrors - at_open_.ierrors;
        // Taken from us by the driver and then not sent.
        const std::uint64_t failed = std::min(device.oerrors - at_open_.oerrors, statistics.sent_frames);
        statistics.sent_frames -= failed;
        statistics.send_failures += failed;
        return statistics;
    }

    std::string_view driver() const override { return device_.driver(); }
    const std::string& spec() const override { return spec_; }

  private:
    static std::unique_ptr<KernelInterface> open_interface(const std::string& device,
                                                           const std::string& spec) {
        const std::string name = argument_of(device, "iface");
        if (name.empty()) return nullptr;
        auto interface = std::make_unique<KernelInterface>(name);
        if (!device.starts_with("net_tap")) require_interface(spec, *interface);
        return interface;
    }

    std::size_t read_mtu() const {
        std::uint16_t device_mtu = RTE_ETHER_MTU;
        rte_eth_dev_get_mtu(device_.id(), &device_mtu);
        const std::size_t kernel_mtu = interface_ ? interface_->mtu() : 0;
        const std::size_t mtu = kernel_mtu != 0 ? std::min<std::size_t>(device_mtu, kernel_mtu) : device_mtu;
        return std::min<std::size_t>(mtu, RTE_MBUF_DEFAULT_DATAROOM - RTE_ETHER_HDR_LEN);
    }

    // In one piece, valid until the next burst; nothing for a frame that is longer than any may be.
    std::span<const std::byte> bytes_of(const rte_mbuf& buffer) {
        if (buffer.nb_segs == 1) return {rte_pktmbuf_mtod(&buffer, const std::byte*), buffer.data_len};
        if (buffer.pkt_len > largest_frame) return {};
        // Large frames are few: room for them is made when the first ones come.
        if (gathered_ == large_.size())
            large_.push_back(std::make_unique<std::array<std::byte, largest_frame>>());
        std::byte* const room = large_[gathered_++]->data();
        if (rte_pktmbuf_read(&buffer, 0, buffer.pkt_len, room) == nullptr) return {};
        return {room, buffer.pkt_len};
    }

    void enqueue_reserved() {
        batch_[batched_++] = reserved_;
        reserved_ = nullptr;
        if (batched_ == batch_.size()) flush();
    }

    void cut_in_software(std::uint16_t segment_bytes) {
        rte_mbuf* const whole = std::exchange(reserved_, nullptr);
        std::vector<std::byte> frame(whole->pkt_len);
        const void* const bytes = rte_pktmbuf_read(whole, 0, whole->pkt_len, frame.data());
        cut_segments({static_cast<const std::byte*>(bytes), frame.size()}, segment_bytes,
                     [this](std::span<const std::byte> segment) {
                         const auto room = reserve(segment.size());
                         if (room.empty()) return;  // counted
                         std::copy(segment.begin(), segment.end(), room.begin());
                         enqueue_reserved();
                     });
        rte_pktmbuf_free(whole);
    }

    // Behind ask_for_checksum(). The sum that DPDK wants in the field is without the length.
    static void ask_for_cutting(rte_mbuf& buffer, bool v4, std::uint16_t segment_bytes) {
        auto* const ip = rte_pktmbuf_mtod_offset(&buffer, std::uint8_t*, buffer.l2_len);
        auto* const tcp = reinterpret_cast<rte_tcp_hdr*>(ip + buffer.l3_len);
        buffer.l4_len = (tcp->data_off >> 4) * 4u & 0xff;
        buffer.tso_segsz = segment_bytes;
        buffer.ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
        if (v4) {
            auto* const header = reinterpret_cast<rte_ipv4_hdr*>(ip);
            buffer.ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
            header->hdr_checksum = 0;
            tcp->cksum = rte_ipv4_phdr_cksum(header, buffer.ol_flags);
        } else {
            tcp->cksum = rte_ipv6_phdr_cksum(reinterpret_cast<rte_ipv6_hdr*>(ip), buffer.ol_flags);
        }
    }

    // As the stack writes its frames: with one VLAN tag or none, its IP headers of the plain length.
    static void ask_for_checksum(rte_mbuf& buffer) {
        const auto* bytes = rte_pktmbuf_mtod(&buffer, const std::uint8_t*);
        const bool tagged = type_at(bytes, 12) == RTE_ETHER_TYPE_VLAN;
        const std::uint16_t link = RTE_ETHER_HDR_LEN + (tagged ? RTE_VLAN_HLEN : 0);
        const std::uint16_t type = type_at(bytes, link - 2u);
        const bool v4 = type == RTE_ETHER_TYPE_IPV4;
        const std::size_t header = v4 ? sizeof(rte_ipv4_hdr) : sizeof(rte_ipv6_hdr);
        if ((!v4 && type != RTE_ETHER_TYPE_IPV6) || buffer.data_len < link + header) return;
        const std::uint8_t protocol = bytes[link + (v4 ? 9u : 6u)];
        if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return;
        buffer.l2_len = link & 0x7f;
        buffer.l3_len = v4 ? sizeof(rte_ipv4_hdr) : sizeof(rte_ipv6_hdr);
        buffer.l4_len = protocol == IPPROTO_TCP ? sizeof(rte_tcp_hdr) : sizeof(rte_udp_hdr);
        buffer.ol_flags |= (v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6) |
                           (protocol == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
    }
    static std::uint16_t type_at(const std::uint8_t* bytes, std::size_t at) {
        return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
    }

    // Before they are handed over: the driver may free what it takes.
    std::uint64_t bytes_from(std::uint16_t first) const {
        std::uint64_t bytes = 0;
        for (std::uint16_t i = first; i < batched_; ++i)
            bytes += batch_[i]->pkt_len;
        return bytes;
    }

    std::string spec_;
    std::unique_ptr<KernelInterface> interface_;
    mutable PacketSocketDrops kernel_drops_;  // asking the kernel for its count resets it
    Device device_;
    std::array<std::uint8_t, 6> link_address_{};
    std::size_t mtu_ = 0;
    std::vector<std::unique_ptr<std::array<std::byte, largest_frame>>> large_;
    std::size_t gathered_ = 0;  // of them, how many the latest burst took
    rte_mbuf* reserved_ = nullptr;
    std::array<rte_mbuf*, transmit_batch> batch_{};
    std::uint16_t batched_ = 0;
    PortStatistics statistics_;
    rte_eth_stats at_open_{};
};

}  // namespace

std::unique_ptr<Port> open_dpdk_port(const std::string& device, const PortOptions& options) {
    if (!dpdk_started()) throw PortError("dpdk:" + device + ": DPDK is not started");
    return std::make_unique<DpdkPort>(device, options);
}

}  // namespace understudy::tap
