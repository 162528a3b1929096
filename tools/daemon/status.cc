#include "tools/daemon/status.hh"

#include <algorithm>
#include <cstdio>

#include "shadow_app/shim/service.hh"
#include "tools/daemon/connection_sync.hh"

namespace understudy::tools {
namespace {

constexpr std::uint32_t max_page = 1000;

void add_port(proto::v1::StatusResponse& status, const tap::Port& port, const char* use) {
    auto& row = *status.add_ports();
    const tap::PortStatistics statistics = port.statistics();
    row.set_spec(port.spec());
    row.set_use(use);
    row.set_driver(std::string(port.driver()));
    row.set_link_address(stack::to_string(stack::LinkAddress{port.link_address()}));
    row.set_carrier(port.carrier());
    row.set_received_frames(statistics.received_frames);
    row.set_received_bytes(statistics.received_bytes);
    row.set_missed_frames(statistics.missed_frames);
    row.set_receive_errors(statistics.receive_errors);
    row.set_sent_frames(statistics.sent_frames);
    row.set_sent_bytes(statistics.sent_bytes);
    row.set_send_failures(statistics.send_failures);
}

using Counters = google::protobuf::RepeatedPtrField<proto::v1::Counter>;

void add_counter(Counters& counters, const std::string& name, std::uint64_t value, std::string_view help) {
    auto& counter = *counters.Add();
    counter.set_name(name);
    counter.set_value(value);
    counter.set_help(std::string(help));
}

void add_tap_counters(Counters& counters, const Core& core) {
    for (const auto& info : tap::decapsulation_counter_table())
        add_counter(counters, "tap.decapsulation." + std::string(info.name),
                    core.decapsulator().counters().*info.value, info.help);
    for (const auto& info : tap::classifier_counter_table())
        add_counter(counters, "tap." + std::string(info.name), core.classifier().counters().*info.value,
                    info.help);
}

void add_program_counters(Counters& counters, const Core& core) {
    std::uint64_t listening = 0;
    shadow_app::shim::ServiceCounters sums;
    core.visit_applications([&](const shadow_app::Application& application) {
        const auto* service = dynamic_cast<const shadow_app::shim::Service*>(&application);
        if (service == nullptr) return;
        listening += service->listening();
        for (const auto& info : shadow_app::shim::service_counter_table)
            sums.*info.value += service->counters().*info.value;
    });
    add_counter(counters, "shim.listening", listening, "sockets on which programs listen at this moment");
    for (const auto& info : shadow_app::shim::service_counter_table)
        add_counter(counters, "shim." + std::string(info.name), sums.*info.value, info.help);
}

// Both list the same counters.
void add_up(Counters& sums, const Counters& more) {
    for (int i = 0; i < sums.size(); ++i)
        sums.Mutable(i)->set_value(sums.Get(i).value() + more.Get(i).value());
}

void add_up(proto::v1::ConnectionCounts& sums, const proto::v1::ConnectionCounts& more) {
    sums.set_open(sums.open() + more.open());
    sums.set_covered(sums.covered() + more.covered());
    sums.set_uncovered(sums.uncovered() + more.uncovered());
    sums.set_verified(sums.verified() + more.verified());
    sums.set_bytes(sums.bytes() + more.bytes());
    sums.set_covered_bytes(sums.covered_bytes() + more.covered_bytes());
    sums.set_lag_bytes(sums.lag_bytes() + more.lag_bytes());
    sums.set_largest_lag_bytes(std::max(sums.largest_lag_bytes(), more.largest_lag_bytes()));
    sums.set_largest_lag_ms(std::max(sums.largest_lag_ms(), more.largest_lag_ms()));
    sums.set_overlapped(sums.overlapped() + more.overlapped());
    for (const auto& [coverage, count] : more.by_coverage())
        (*sums.mutable_by_coverage())[coverage] += count;
}

void add_up(proto::v1::MirrorLoss& sums, const proto::v1::MirrorLoss& more) {
    sums.set_from_client_bytes(sums.from_client_bytes() + more.from_client_bytes());
    sums.set_from_client_missed_bytes(sums.from_client_missed_bytes() + more.from_client_missed_bytes());
    sums.set_from_primary_bytes(sums.from_primary_bytes() + more.from_primary_bytes());
    sums.set_from_primary_missed_bytes(sums.from_primary_missed_bytes() + more.from_primary_missed_bytes());
    const auto ratio = [](std::uint64_t missed, std::uint64_t all) {
        return all == 0 ? 0 : static_cast<double>(missed) / static_cast<double>(all);
    };
    sums.set_from_client_ratio(ratio(sums.from_client_missed_bytes(), sums.from_client_bytes()));
    sums.set_from_primary_ratio(ratio(sums.from_primary_missed_bytes(), sums.from_primary_bytes()));
}

void add_up(proto::v1::DatagramCounts& sums, const proto::v1::DatagramCounts& more) {
    sums.set_received(sums.received() + more.received());
    sums.set_answered(sums.answered() + more.answered());
    sums.set_matched(sums.matched() + more.matched());
    sums.set_expired(sums.expired() + more.expired());
    sums.set_unmatched(sums.unmatched() + more.unmatched());
}

void add_services(google::protobuf::RepeatedPtrField<proto::v1::ServiceStatus>& rows, const Core& core) {
    for (const stack::ServiceSnapshot& service : core.stack().services()) {
        auto& row = *rows.Add();
        row.set_endpoint(stack::to_string(service.service));
        row.set_state(stack::to_string(service.state));
    }
}

// A service's state is known to be equal where it is on every core.
void add_up_state(proto::v1::ServiceStatus& sum, const std::string& more) {
    using stack::ServiceState;
    for (const ServiceState worst : {ServiceState::lost, ServiceState::unproven, ServiceState::attested})
        if (sum.state() == stack::to_string(worst) || more == stack::to_string(worst))
            return sum.set_state(stack::to_string(worst));
    sum.set_state(more);
}

// Without the application's name, which a core does not know.
void add_datagram_services(google::protobuf::RepeatedPtrField<proto::v1::ServiceStatus>& rows,
                           const Core& core) {
    for (const stack::DatagramServiceSnapshot& service : core.stack().datagram_services()) {
        auto& row = *rows.Add();
        row.set_endpoint(datagram_service_name(service.service));
        auto& counts = *row.mutable_datagrams();
        counts.set_received(service.received);
        counts.set_answered(service.answered);
        counts.set_matched(service.matched);
        counts.set_expired(service.expired);
        counts.set_unmatched(service.unmatched);
    }
}

}  // namespace

std::string datagram_service_name(const stack::Endpoint& endpoint) {
    return stack::to_string(endpoint) + "/udp";
}

proto::v1::StatusResponse core_status(const DataPlane& plane, const Core& core) {
    proto::v1::StatusResponse part;
    if (core.index() == 0)
        for (const auto& tap : plane.taps())
            add_port(part, *tap, "tap");
    if (part.ports_size() == 0) part.add_ports();
    add_tap_counters(*part.mutable_ports(0)->mutable_counters(), core);
    if (core.index() == 0) add_port(part, plane.service_port(), "service");
    const CoverageCount count = core.count_coverage();
    auto& connections = *part.mutable_connections();
    connections.set_open(count.open);
    connections.set_covered(count.covered);
    connections.set_uncovered(count.open - count.covered);
    connections.set_verified(count.verified);
    connections.set_bytes(count.bytes);
    connections.set_covered_bytes(count.covered_bytes);
    connections.set_lag_bytes(count.lag_bytes);
    connections.set_largest_lag_bytes(count.largest_lag_bytes);
    connections.set_largest_lag_ms(std::chrono::duration<double, std::milli>(count.largest_lag_time).count());
    connections.set_overlapped(count.overlapped);
    for (const auto& [coverage, number] : count.by_coverage)
        (*connections.mutable_by_coverage())[stack::to_string(coverage)] = number;
    const stack::Counters& counters = core.stack().counters();
    auto& loss = *part.mutable_mirror_loss();
    loss.set_from_client_bytes(counters.client_bytes_confirmed);
    loss.set_from_client_missed_bytes(counters.client_bytes_missed);
    loss.set_from_primary_bytes(counters.primary_bytes_followed);
    loss.set_from_primary_missed_bytes(counters.primary_bytes_missed);
    add_services(*part.mutable_services(), core);
    add_datagram_services(*part.mutable_services(), core);
    return part;
}

void add_core_status(proto::v1::StatusResponse& status, const std::vector<proto::v1::StatusResponse>& parts) {
    *status.mutable_ports() = parts[0].ports();
    *status.mutable_connections() = parts[0].connections();
    for (const auto& part : parts)
        add_up(*status.mutable_mirror_loss(), part.mirror_loss());
    for (std::size_t i = 1; i < parts.size(); ++i) {
        add_up(*status.mutable_ports(0)->mutable_counters(), parts[i].ports(0).counters());
        add_up(*status.mutable_connections(), parts[i].connections());
    }
    for (auto& service : *status.mutable_services())
        for (const auto& part : parts)
            for (const auto& of_core : part.services())
                if (of_core.endpoint() != service.endpoint())
                    continue;
                else if (of_core.has_datagrams())
                    add_up(*service.mutable_datagrams(), of_core.datagrams());
                else
                    add_up_state(service, of_core.state());
}

proto::v1::ConnectionsResponse connection_page(const Core& core, std::size_t cores, ConnectionCursor cursor,
                                               std::uint32_t limit) {
    proto::v1::ConnectionsResponse response;
    const std::uint32_t wanted = limit == 0 ? max_page : std::min(limit, max_page);
    for (const auto& snapshot : core.stack().snapshots(cursor.position, wanted))
        *response.add_rows() = to_connection_row(snapshot);
    if (cursor.position == 0) ++cursor.core;
    if (cursor.core < cores)
        response.set_next_cursor(cursor.core << ConnectionCursor::position_bits | cursor.position);
    return response;
}

CoreCounters core_counters(const Core& core) {
    CoreCounters part;
    auto& shared = *part.shared.mutable_counters();
    for (const auto& info : stack::counter_table)
        add_counter(shared, "stack." + std::string(info.name), core.stack().counters().*info.value,
                    info.help);
    add_tap_counters(shared, core);
    const auto& host = core.host_counters();
    add_counter(shared, "app.accepted", host.accepted, "connections given to an application");
    add_counter(shared, "app.closed", host.closed, "connections that an application has seen end");
    add_counter(shared, "app.bytes_received", host.bytes_received, "bytes that applications took");
    add_counter(shared, "app.bytes_written", host.bytes_written, "bytes that applications wrote");
    add_counter(shared, "app.refused_no_application", host.refused_no_application,
                "connections of an endpoint that no application serves");
    add_counter(shared, "app.datagrams_received", host.datagrams_received,
                "datagrams given to an application");
    add_counter(shared, "app.datagrams_sent", host.datagrams_sent,
                "datagrams that applications sent, while silent as well");
    add_counter(shared, "app.datagrams_refused", host.datagrams_refused,
                "datagrams of applications that the stack refused");
    add_counter(shared, "app.datagrams_no_application", host.datagrams_no_application,
                "datagrams for an endpoint that no application serves");
    add_program_counters(shared, core);
    const auto add_both = [&](const char* name, std::uint64_t value, const char* help) {
        add_counter(shared, std::string("core.") + name, value, help);
        add_counter(*part.own.mutable_counters(), "core" + std::to_string(core.index()) + "." + name, value,
                    help);
    };
    add_both("polls", core.polls(), "turns of the poll loop");
    add_both("sleeps", core.sleeps(), "turns that ended in a sleep");
    add_both("seeds_lost", core.seeds_lost(), "connection syncs that the recording was too slow for");
    add_both("handed_over", core.handed_over(), "frames given to the core that owns their flow");
    add_both("handover_lost", core.handover_lost(), "frames lost because the ring to their owner was full");
    add_both("transmit_lost", core.transmit_lost(),
             "frames lost because the ring to the core that sends was full");
    return part;
}

void add_core_counters(proto::v1::CountersResponse& response, const std::vector<CoreCounters>& parts) {
    proto::v1::CountersResponse sums = parts[0].shared;
    for (std::size_t i = 1; i < parts.size(); ++i)
        add_up(*sums.mutable_counters(), parts[i].shared.counters());
    response.mutable_counters()->MergeFrom(sums.counters());
    for (std::size_t i = 0; parts.size() > 1 && i < parts.size(); ++i)
        response.mutable_counters()->MergeFrom(parts[i].own.counters());
}

}  // namespace understudy::tools
