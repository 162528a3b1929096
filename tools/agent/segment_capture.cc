#include "tools/agent/segment_capture.hh"

#include <pcap/pcap.h>

#include <atomic>
#include <list>
#include <stdexcept>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include "failover/heartbeat_service.hh"
#include "stack/ingress.hh"
#include "tools/agent/repair_server.hh"
#include "tools/agent/segment_store.hh"
#include "tools/common/program.hh"

namespace understudy::tools {
namespace {

constexpr int snapshot_bytes = 65535;
constexpr int kernel_buffer_bytes = 16 << 20;
// How long the kernel may keep a frame to hand out several at once. Far below any repair deadline.
constexpr int batching_ms = 1;
constexpr int dispatch_burst = 256;
constexpr std::size_t max_waiting_requests = 1024;

failover::RepairEndpoint repair_endpoint(const stack::Endpoint& endpoint) {
    return {endpoint.address.octets, endpoint.port};
}

struct PcapClose {
    void operator()(pcap_t* handle) const { pcap_close(handle); }
};
using PcapHandle = std::unique_ptr<pcap_t, PcapClose>;

PcapHandle open_capture(const ServiceOnPort& service) {
    const auto error = [&service](const std::string& what) {
        return std::runtime_error("--repair " + service.interface + ": " + what);
    };
    char text[PCAP_ERRBUF_SIZE] = "";
    PcapHandle handle(pcap_create(service.interface.c_str(), text));
    if (!handle) throw error(text);
    pcap_set_snaplen(handle.get(), snapshot_bytes);
    pcap_set_promisc(handle.get(), 0);
    pcap_set_buffer_size(handle.get(), kernel_buffer_bytes);
    pcap_set_timeout(handle.get(), batching_ms);
    const int status = pcap_activate(handle.get());
    if (status < 0) throw error(pcap_statustostr(status));
    if (pcap_datalink(handle.get()) != DLT_EN10MB) throw error("only Ethernet interfaces can be captured");
    const std::string expression = fmt::format("tcp and host {} and port {}",
                                               to_string(service.endpoint.address), service.endpoint.port);
    bpf_program filter{};
    if (pcap_compile(handle.get(), &filter, expression.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0)
        throw error(pcap_geterr(handle.get()));
    const int installed = pcap_setfilter(handle.get(), &filter);
    pcap_freecode(&filter);
    if (installed != 0) throw error(pcap_geterr(handle.get()));
    if (pcap_setnonblock(handle.get(), 1, text) != 0) throw error(text);
    return handle;
}

}  // namespace

struct SegmentCapture::Impl {
    struct Source {
        Impl& owner;
        stack::Endpoint service;
        PcapHandle handle;
        boost::asio::posix::stream_descriptor descriptor;
    };

    boost::asio::io_context io{1};
    SegmentStore store;
    RepairServer server;
    OnAnswer on_answer;
    std::list<Source> sources;
    std::thread thread;
    std::atomic<std::size_t> waiting{0};
    std::atomic<std::uint64_t> lost_requests{0};
    stack::Counters counters;
    stack::Settings settings;  // for reading
    std::uint64_t segments = 0;

    Impl(const Settings& wanted, OnAnswer answer)
        : store(wanted.buffer_bytes), server(store, wanted.bytes_per_second), on_answer(std::move(answer)) {
        // Local segments are seen before the NIC fills in their sums.
        settings.shadow.accept_unfilled_checksums = true;
        for (const ServiceOnPort& service : wanted.services) {
            PcapHandle handle = open_capture(service);
            boost::asio::posix::stream_descriptor descriptor(io, pcap_get_selectable_fd(handle.get()));
            sources.push_back({*this, service.endpoint, std::move(handle), std::move(descriptor)});
        }
    }
    ~Impl() {
        // The descriptor is libpcap's.
        for (Source& source : sources)
            source.descriptor.release();
    }

    void wait(Source& source) {
        source.descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                     [this, &source](boost::system::error_code error) {
                                         if (error) return;
                                         read(source);
                                         wait(source);
                                     });
    }

    void read(Source& source) {
        pcap_dispatch(
            source.handle.get(), dispatch_burst,
            [](u_char* user, const pcap_pkthdr* header, const u_char* data) {
                Source& from = *reinterpret_cast<Source*>(user);
                from.owner.take(from, {reinterpret_cast<const std::byte*>(data), header->caplen});
            },
            reinterpret_cast<u_char*>(&source));
    }

    void take(const Source& source, std::span<const std::byte> bytes) {
        const stack::ReceivedFrame frame{stack::Source::tap_from_client, bytes,
                                         static_cast<std::uint32_t>(bytes.size())};
        const auto link = stack::read_link(frame, settings, counters);
        if (!link) return;
        const auto packet = stack::read_ip(*link, stack::Source::tap_from_client, settings.shadow, counters);
        if (!packet || packet->header.fragment || packet->header.protocol != stack::wire::IpProtocol::tcp)
            return;
        stack::tcp::Segment segment;
        if (!stack::read_tcp(*packet, stack::Source::tap_from_client, settings.shadow, counters, segment))
            return;
        SegmentStore::Flow flow;
        flow.from_primary = segment.remote == source.service;
        if (!flow.from_primary && segment.local != source.service) return;
        flow.client = repair_endpoint(flow.from_primary ? segment.local : segment.remote);
        flow.service = repair_endpoint(source.service);
        ++segments;
        const std::uint32_t first = segment.seq().raw() + (segment.has(stack::wire::TcpFlags::syn) ? 1 : 0);
        store.add(flow, first, segment.payload, segment.has(stack::wire::TcpFlags::fin));
    }

    void answer(const proto::v1::RepairRequest& request) {
        --waiting;
        // What the request asks for may be in the kernel's ring still.
        for (Source& source : sources)
            read(source);
        auto answers = server.answer(request, failover::monotonic_now());
        if (!answers.empty()) on_answer(std::move(answers));
    }
};

SegmentCapture::SegmentCapture(const Settings& settings, OnAnswer on_answer)
    : impl_(std::make_unique<Impl>(settings, std::move(on_answer))) {}

SegmentCapture::~SegmentCapture() {
    stop();
}

void SegmentCapture::start() {
    for (Impl::Source& source : impl_->sources)
        impl_->wait(source);
    impl_->thread = std::thread([this] { impl_->io.run(); });
}

void SegmentCapture::stop() {
    impl_->io.stop();
    if (impl_->thread.joinable()) impl_->thread.join();
}

void SegmentCapture::ask(proto::v1::RepairRequest request) {
    if (impl_->waiting.fetch_add(1) >= max_waiting_requests) {
        --impl_->waiting;
        ++impl_->lost_requests;
        return;
    }
    boost::asio::post(impl_->io, [this, request = std::move(request)] { impl_->answer(request); });
}

std::string SegmentCapture::summary() const {
    std::uint64_t lost = 0;
    for (const Impl::Source& source : impl_->sources) {
        pcap_stat statistics{};
        if (pcap_stats(source.handle.get(), &statistics) == 0) lost += statistics.ps_drop;
    }
    const RepairServerCounters& counters = impl_->server.counters();
    return fmt::format(
        "segments={} capture_lost={} held_bytes={} flows={} requests={} answers={} bytes={} not_held={} "
        "refused_malformed={} refused_rate={} refused_waiting={}",
        impl_->segments, lost, impl_->store.held_bytes(), impl_->store.flows(), counters.requests,
        counters.answers, counters.bytes, counters.not_held, counters.refused_malformed,
        counters.refused_rate, impl_->lost_requests.load());
}

}  // namespace understudy::tools
