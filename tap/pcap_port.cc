#include "tap/pcap_port.hh"

#include <pcap/pcap.h>

#include <algorithm>
#include <vector>

#include "tap/kernel_interface.hh"
#include "tap/link_type.hh"

namespace understudy::tap {
namespace {

constexpr int snapshot_length = 65535;
// In immediate mode libpcap cuts the buffer into slots that each hold a frame of the snapshot length: 1 024
// of them. Where all offloads of the interface are off, the slots hold its MTU, and there are 40 times as
// many.
constexpr int kernel_buffer_bytes = 64 << 20;
// Only a bound: in immediate mode no frame waits for it.
constexpr int read_timeout_ms = 1;
constexpr std::size_t max_burst = 64;
constexpr std::size_t ethernet_header = 14;
constexpr std::size_t file_mtu = 1500;
constexpr std::uint64_t ns_per_s = 1'000'000'000;

struct PcapClose {
    void operator()(pcap_t* handle) const { pcap_close(handle); }
};
using PcapHandle = std::unique_ptr<pcap_t, PcapClose>;

std::string link_type_name(int type) {
    const char* name = pcap_datalink_val_to_name(type);
    return name != nullptr ? name : std::to_string(type);
}

void require_ethernet(pcap_t* handle, const std::string& spec) {
    const int type = pcap_datalink(handle);
    if (type == DLT_EN10MB) return;
    throw PortError(spec + ": link type " + link_type_name(type) +
                    " is not Ethernet (EN10MB): only Ethernet frames can be read");
}

// libpcap hands a frame out until its next call, so a burst is copied together.
class BurstBuffer {
  public:
    void begin(std::size_t wanted) {
        wanted_ = std::min(wanted, max_burst);
        bytes_.clear();
        entries_.clear();
    }
    bool full() const { return entries_.size() >= wanted_; }
    std::size_t room() const { return wanted_ - entries_.size(); }
    void add(const pcap_pkthdr& header, const u_char* data, std::uint64_t timestamp_ns) {
        const auto* first = reinterpret_cast<const std::byte*>(data);
        bytes_.insert(bytes_.end(), first, first + header.caplen);
        entries_.push_back({header.caplen, header.len, timestamp_ns});
    }
    void add(const EthernetForm& form, std::size_t bytes_cut, std::uint64_t timestamp_ns) {
        bytes_.insert(bytes_.end(), form.header.begin(), form.header.end());
        bytes_.insert(bytes_.end(), form.payload.begin(), form.payload.end());
        const auto length = static_cast<std::uint32_t>(form.header.size() + form.payload.size());
        entries_.push_back({length, length + static_cast<std::uint32_t>(bytes_cut), timestamp_ns});
    }
    // The frames lie still from here to the next begin().
    std::size_t hand_out(std::span<Frame> out, PortStatistics& statistics) const {
        std::span<const std::byte> rest = bytes_;
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            const Entry& entry = entries_[i];
            out[i] = {rest.first(entry.length), std::max(entry.wire_length, entry.length), entry.timestamp_ns,
                      nullptr};
            rest = rest.subspan(entry.length);
        }
        statistics.received_frames += entries_.size();
        statistics.received_bytes += bytes_.size();
        return entries_.size();
    }

  private:
    struct Entry {
        std::uint32_t length;
        std::uint32_t wire_length;
        std::uint64_t timestamp_ns;
    };

    std::size_t wanted_ = 0;
    std::vector<std::byte> bytes_;
    std::vector<Entry> entries_;
};

std::string activation_error(int status, pcap_t* handle, const std::string& spec) {
    switch (status) {
        case PCAP_ERROR_NO_SUCH_DEVICE:
            return spec + ": there is no such interface: see `ip link`";
        case PCAP_ERROR_PERM_DENIED:
        case PCAP_ERROR_PROMISC_PERM_DENIED:
            return spec + ": no privilege to capture: run as root or with CAP_NET_RAW";
        case PCAP_ERROR_IFACE_NOT_UP:
            return spec + ": the interface is down: `ip link set` it up";
        default:
            return spec + ": " +
                   (*pcap_geterr(handle) != '\0' ? pcap_geterr(handle) : pcap_statustostr(status));
    }
}

class LivePort final : public Port {
  public:
    LivePort(const std::string& interface, const PortOptions& options)
        : spec_("pcap:" + interface), interface_(interface) {
        if (!interface_.exists())
            throw PortError(activation_error(PCAP_ERROR_NO_SUCH_DEVICE, nullptr, spec_));
        if (!interface_.up()) throw PortError(activation_error(PCAP_ERROR_IFACE_NOT_UP, nullptr, spec_));
        char error[PCAP_ERRBUF_SIZE] = "";
        handle_.reset(pcap_create(interface.c_str(), error));
        if (!handle_) throw PortError(spec_ + ": " + error);
        pcap_set_snaplen(handle_.get(), snapshot_length);
        pcap_set_promisc(handle_.get(), options.promiscuous ? 1 : 0);
        pcap_set_immediate_mode(handle_.get(), 1);
        pcap_set_buffer_size(handle_.get(), kernel_buffer_bytes);
        pcap_set_timeout(handle_.get(), read_timeout_ms);
        const int status = pcap_activate(handle_.get());
        if (status < 0) throw PortError(activation_error(status, handle_.get(), spec_));
        require_ethernet(handle_.get(), spec_);
        if (pcap_setnonblock(handle_.get(), 1, error) != 0) throw PortError(spec_ + ": " + error);
        if (pcap_setdirection(handle_.get(), PCAP_D_IN) != 0)
            throw PortError(spec_ + ": " + pcap_geterr(handle_.get()));
        mtu_ = interface_.mtu();
    }

    std::size_t receive(std::span<Frame> out) override {
        burst_.begin(out.size());
        if (burst_.full()) return 0;
        const auto take = [](u_char* user, const pcap_pkthdr* header, const u_char* data) {
            reinterpret_cast<BurstBuffer*>(user)->add(*header, data, 0);
        };
        const int status = pcap_dispatch(handle_.get(), static_cast<int>(burst_.room()), take,
                                         reinterpret_cast<u_char*>(&burst_));
        if (status < 0) ++statistics_.receive_errors;
        return burst_.hand_out(out, statistics_);
    }

    void release(std::span<const Frame>) override {}

    std::span<std::byte> reserve(std::size_t length) override {
        reserved_.clear();
        if (length == 0 || length > mtu_ + ethernet_header) {
            ++statistics_.no_buffer;
            return {};
        }
        reserved_.resize(length);
        return reserved_;
    }

    void commit() override {
        if (reserved_.empty()) return;
        if (pcap_inject(handle_.get(), reserved_.data(), reserved_.size()) < 0) {
            ++statistics_.send_failures;
        } else {
            ++statistics_.sent_frames;
            statistics_.sent_bytes += reserved_.size();
        }
        reserved_.clear();
    }

    void flush() override {}
    std::array<std::uint8_t, 6> link_address() const override { return interface_.link_address(); }
    bool carrier() const override { return interface_.carrier(); }
    std::size_t mtu() const override { return mtu_; }

    PortStatistics statistics() const override {
        PortStatistics statistics = statistics_;
        pcap_stat lost{};
        if (pcap_stats(handle_.get(), &lost) == 0) statistics.missed_frames = lost.ps_drop;
        return statistics;
    }

    std::string_view driver() const override { return "pcap"; }
    const std::string& spec() const override { return spec_; }

  private:
    std::string spec_;
    KernelInterface interface_;
    PcapHandle handle_;
    std::size_t mtu_ = 0;
    BurstBuffer burst_;
    std::vector<std::byte> reserved_;
    PortStatistics statistics_;
};

// libpcap puts the path before some of its messages and not before others.
std::string why_not(const std::string& path, std::string message) {
    if (message.starts_with(path + ": ")) message.erase(0, path.size() + 2);
    return message;
}

class FilePort final : public Port {
  public:
    explicit FilePort(const std::string& path) : spec_("file:" + path) {
        char error[PCAP_ERRBUF_SIZE] = "";
        handle_.reset(
            pcap_open_offline_with_tstamp_precision(path.c_str(), PCAP_TSTAMP_PRECISION_NANO, error));
        if (!handle_) throw PortError(spec_ + ": " + why_not(path, error));
        link_type_ = pcap_datalink(handle_.get());
        if (!is_readable_link_type(link_type_))
            throw PortError(spec_ + ": link type " + link_type_name(link_type_) + " cannot be read: only " +
                            std::string(readable_link_types()));
    }

    std::size_t receive(std::span<Frame> out) override {
        burst_.begin(out.size());
        while (!exhausted_ && !burst_.full())
            read_one();
        return burst_.hand_out(out, statistics_);
    }

    void release(std::span<const Frame>) override {}

    std::span<std::byte> reserve(std::size_t) override {
        ++statistics_.no_buffer;
        return {};
    }

    void commit() override {}
    void flush() override {}
    std::array<std::uint8_t, 6> link_address() const override { return {}; }
    bool carrier() const override { return !exhausted_; }
    std::size_t mtu() const override { return file_mtu; }
    PortStatistics statistics() const override { return statistics_; }
    std::string_view driver() const override { return "file"; }
    const std::string& spec() const override { return spec_; }
    bool exhausted() const override { return exhausted_; }

  private:
    void read_one() {
        pcap_pkthdr* header = nullptr;
        const u_char* data = nullptr;
        const int status = pcap_next_ex(handle_.get(), &header, &data);
        if (status == 1) {
            // With nanosecond precision libpcap keeps nanoseconds in the microseconds' place.
            const auto seconds = static_cast<std::uint64_t>(header->ts.tv_sec);
            const std::uint64_t at = seconds * ns_per_s + static_cast<std::uint64_t>(header->ts.tv_usec);
            if (link_type_ == DLT_EN10MB) return burst_.add(*header, data, at);
            const auto form =
                as_ethernet(link_type_, std::span(reinterpret_cast<const std::byte*>(data), header->caplen));
            if (form)
                burst_.add(*form, header->len > header->caplen ? header->len - header->caplen : 0, at);
            else
                ++statistics_.receive_errors;
            return;
        }
        // A file that breaks off in mid-record ends there.
        if (status != PCAP_ERROR_BREAK) ++statistics_.receive_errors;
        exhausted_ = true;
    }

    std::string spec_;
    PcapHandle handle_;
    int link_type_ = DLT_EN10MB;
    BurstBuffer burst_;
    PortStatistics statistics_;
    bool exhausted_ = false;
};

}  // namespace

std::unique_ptr<Port> open_pcap_port(const std::string& interface, const PortOptions& options) {
    return std::make_unique<LivePort>(interface, options);
}

std::unique_ptr<Port> open_file_port(const std::string& path) {
    return std::make_unique<FilePort>(path);
}

}  // namespace understudy::tap
