#include "tools/daemon/metrics.hh"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

#include <boost/asio/post.hpp>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>

namespace understudy::tools {
namespace {

namespace v1 = proto::v1;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

constexpr std::chrono::seconds answer_timeout{2};
constexpr double ms_per_s = 1000;

// Families in the order in which they are first named; each name once.
class Families {
  public:
    void gauge(const std::string& name, const std::string& help, double value, Labels labels = {}) {
        add("understudy_" + name, help, MetricType::Gauge, std::move(labels)).gauge.value = value;
    }
    void counter(const std::string& name, const std::string& help, std::uint64_t value, Labels labels = {}) {
        add("understudy_" + name + "_total", help, MetricType::Counter, std::move(labels)).counter.value =
            static_cast<double>(value);
    }
    std::vector<MetricFamily> take() { return std::move(families_); }

  private:
    ClientMetric& add(const std::string& name, const std::string& help, MetricType type, Labels labels) {
        const auto [place, is_new] = places_.try_emplace(name, families_.size());
        if (is_new) families_.push_back({name, help, type, {}});
        ClientMetric& metric = families_[place->second].metric.emplace_back();
        metric.label = std::move(labels);
        return metric;
    }

    std::vector<MetricFamily> families_;
    std::map<std::string, std::size_t> places_;
};

// "link0.refused_forged" → "link_refused_forged" with the label link="0".
void add_counter(Families& families, const v1::Counter& counter) {
    std::string name = counter.name();
    Labels labels;
    const std::size_t dot = name.find('.');
    const std::size_t digits = name.find_last_not_of("0123456789", dot - 1) + 1;
    if (dot != std::string::npos && digits < dot) {
        labels.push_back({name.substr(0, digits), name.substr(digits, dot - digits)});
        name.erase(digits, dot - digits);
    }
    std::replace(name.begin(), name.end(), '.', '_');
    families.counter(name, counter.help(), counter.value(), std::move(labels));
}

void add_counters(Families& families, const v1::CountersResponse& counters) {
    const auto starts_with = [](const char* prefix) {
        return [prefix](const v1::Counter& counter) { return counter.name().starts_with(prefix); };
    };
    // A family holds the sum or its parts, never both.
    const auto& all = counters.counters();
    const bool has_parts = std::any_of(all.begin(), all.end(), starts_with("core0."));
    for (const v1::Counter& counter : all)
        if (!has_parts || !starts_with("core.")(counter)) add_counter(families, counter);
}

void add_connections(Families& families, const v1::ConnectionCounts& counts) {
    families.gauge("connections_open", "open connections", counts.open());
    families.gauge("connections_covered", "connections that a takeover would carry on", counts.covered());
    families.gauge("connections_verified", "connections whose client's own numbers agreed since the takeover",
                   counts.verified());
    families.gauge("connections_overlapped",
                   "connections whose input was with the primary together with another one's", counts.overlapped());
    for (const auto& [coverage, count] : counts.by_coverage())
        families.gauge("connections", "open connections by coverage", count, {{"coverage", coverage}});
    const auto share = [](double part, double whole) { return whole == 0 ? 1 : part / whole; };
    families.gauge("coverage_connections_ratio", "share of the connections that is covered, 1 without any",
                   share(counts.covered(), counts.open()));
    families.gauge("coverage_bytes_ratio", "share of their bytes that is covered, 1 without any",
                   share(static_cast<double>(counts.covered_bytes()), static_cast<double>(counts.bytes())));
    families.gauge("lag_bytes", "bytes by which the applications are behind the primary",
                   static_cast<double>(counts.lag_bytes()));
    families.gauge("lag_largest_bytes", "bytes by which one of them is behind at most",
                   static_cast<double>(counts.largest_lag_bytes()));
    families.gauge("lag_largest_seconds", "time by which one of them is behind, at least",
                   counts.largest_lag_ms() / ms_per_s);
}

void add_links_and_ports(Families& families, const v1::StatusResponse& status) {
    for (const v1::LinkStatus& link : status.links()) {
        const Labels labels{{"link", std::to_string(link.index())}};
        families.gauge("link_alive", "1: the heartbeat link is heard", link.alive() ? 1 : 0, labels);
        if (link.has_rtt_ms())
            families.gauge("link_rtt_seconds", "smoothed round trip", link.rtt_ms() / ms_per_s, labels);
        if (link.has_jitter_ms())
            families.gauge("link_jitter_seconds", "smoothed difference of successive round trips",
                           link.jitter_ms() / ms_per_s, labels);
        if (link.has_loss())
            families.gauge("link_loss_ratio", "share of the latest heartbeats without an answer", link.loss(),
                           labels);
    }
    for (const v1::PortStatus& port : status.ports()) {
        const Labels labels{{"port", port.spec()}, {"use", port.use()}};
        families.gauge("port_carrier", "1: the port has carrier", port.carrier() ? 1 : 0, labels);
        families.counter("port_received_frames", "frames received", port.received_frames(), labels);
        families.counter("port_received_bytes", "bytes received", port.received_bytes(), labels);
        families.counter("port_missed_frames", "frames lost before they reached us", port.missed_frames(), labels);
        families.counter("port_receive_errors", "frames that the port could not receive", port.receive_errors(),
                         labels);
        families.counter("port_sent_frames", "frames sent", port.sent_frames(), labels);
        families.counter("port_sent_bytes", "bytes sent", port.sent_bytes(), labels);
        families.counter("port_send_failures", "frames that the port did not take", port.send_failures(), labels);
    }
}

void add_services(Families& families, const v1::StatusResponse& status) {
    for (const v1::ServiceStatus& service : status.services()) {
        const Labels labels{{"service", service.endpoint()}};
        if (!service.state().empty())
            families.gauge("service_state", "1: the state of the service's program, as understudy status says",  //
                           1, {{"service", service.endpoint()}, {"state", service.state()}});
        if (!service.has_datagrams()) continue;
        const v1::DatagramCounts& counts = service.datagrams();
        families.counter("udp_received", "datagrams given to the application", counts.received(), labels);
        families.counter("udp_answered", "datagrams of the application", counts.answered(), labels);
        families.counter("udp_matched", "of them: the primary sent the same", counts.matched(), labels);
        families.counter("udp_expired", "of them: the primary did not, in time", counts.expired(), labels);
        families.counter("udp_unmatched", "datagrams of the primary that the application did not send in time",
                         counts.unmatched(), labels);
    }
}

// One question, asked on another thread.
struct Question {
    std::mutex mutex;
    std::condition_variable answered;
    std::optional<v1::ControlResponse> response;
    bool given_up = false;
};

}  // namespace

std::vector<MetricFamily> metric_families(const v1::StatusResponse& status,
                                          const v1::CountersResponse& counters) {
    Families families;
    families.gauge("up", "1: the replica answered", 1);
    families.gauge("info", "1; what runs", 1, {{"role", status.role()}, {"version", status.version()}});
    families.gauge("mode", "1; of the decision machine", 1, {{"mode", status.mode()}});
    families.gauge("serving", "1: this replica serves", status.serving() == "replica" ? 1 : 0);
    families.gauge("ready", "1: the mirror is followed", status.ready() ? 1 : 0);
    families.gauge("uptime_seconds", "since the process started", status.uptime_s());
    if (status.has_primary_on_tap_ms_ago())
        families.gauge("primary_on_tap_age_seconds", "since the last mirrored frame of the primary",
                       status.primary_on_tap_ms_ago() / ms_per_s);
    add_connections(families, status.connections());
    families.gauge("mirror_loss_ratio", "share of the bytes that the mirror did not show, by acknowledgements",
                   status.mirror_loss().from_client_ratio(), {{"direction", "from_client"}});
    families.gauge("mirror_loss_ratio", "", status.mirror_loss().from_primary_ratio(),
                   {{"direction", "from_primary"}});
    add_services(families, status);
    add_links_and_ports(families, status);
    add_counters(families, counters);
    return families.take();
}

struct Metrics::Impl {
    // Outlives the scrapes that use it; the exposer keeps it only weakly.
    struct Source final : prometheus::Collectable, std::enable_shared_from_this<Source> {
        Source(boost::asio::io_context& context, ControlHandler& answers) : io(context), handler(answers) {}

        std::vector<MetricFamily> Collect() const override {
            v1::ControlRequest wanted_status, wanted_counters;
            wanted_status.mutable_status();
            wanted_counters.mutable_counters();
            const auto status = ask(wanted_status);
            const auto counters = status ? ask(wanted_counters) : std::nullopt;
            if (status && counters && status->has_status() && counters->has_counters())
                return metric_families(status->status(), counters->counters());
            Families families;
            families.gauge("up", "1: the replica answered", 0);
            return families.take();
        }

        std::optional<v1::ControlResponse> ask(const v1::ControlRequest& request) const {
            const auto question = std::make_shared<Question>();
            {
                const std::lock_guard lock(mutex);
                if (stopping) return std::nullopt;
                std::erase_if(open, [](const std::weak_ptr<Question>& one) { return one.expired(); });
                open.push_back(question);
            }
            boost::asio::post(io, [self = shared_from_this(), request, question] {
                self->handler.handle(request, [question](const v1::ControlResponse& response) {
                    const std::lock_guard lock(question->mutex);
                    question->response = response;
                    question->answered.notify_all();
                });
            });
            std::unique_lock lock(question->mutex);
            question->answered.wait_for(lock, answer_timeout,
                                        [&] { return question->response || question->given_up; });
            return question->response;
        }

        void stop() {
            const std::lock_guard lock(mutex);
            stopping = true;
            for (const auto& one : open)
                if (const auto question = one.lock()) {
                    const std::lock_guard waiting(question->mutex);
                    question->given_up = true;
                    question->answered.notify_all();
                }
        }

        boost::asio::io_context& io;
        ControlHandler& handler;
        mutable std::mutex mutex;
        mutable std::vector<std::weak_ptr<Question>> open;
        bool stopping = false;
    };

    std::shared_ptr<Source> source;
    std::optional<prometheus::Exposer> exposer;
};

Metrics::Metrics(boost::asio::io_context& io, ControlHandler& handler, const std::string& listen)
    : impl_(std::make_unique<Impl>()) {
    impl_->source = std::make_shared<Impl::Source>(io, handler);
    try {
        impl_->exposer.emplace(listen, 1);
    } catch (const std::exception& error) {
        throw std::runtime_error("--metrics-listen " + listen +
                                 ": cannot listen there; choose an address of this host and a free port");
    }
    impl_->exposer->RegisterCollectable(impl_->source);
}

Metrics::~Metrics() {
    impl_->source->stop();
    impl_->exposer.reset();
}

int Metrics::port() const {
    return impl_->exposer->GetListeningPorts().at(0);
}

}  // namespace understudy::tools
