#include "tools/daemon/status.hh"

#include <algorithm>
#include <cstdio>

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

void add_counter(google::protobuf::RepeatedPtrField<proto::v1::Counter>& counters, const std::string& name,
                 std::uint64_t value, std::string_view help) {
    auto& counter = *counters.Add();
    counter.set_name(name);
    counter.set_value(value);
    counter.set_help(std::string(help));
}

void add_classifier_counters(google::protobuf::RepeatedPtrField<proto::v1::Counter>& counters,
                             const tap::Classifier& classifier) {
    for (const auto& info : tap::classifier_counter_table())
        add_counter(counters, "tap." + std::string(info.name), classifier.counters().*info.value, info.help);
}

}  // namespace

void add_core_status(proto::v1::StatusResponse& status, const DataPlane& plane) {
    for (const auto& tap : plane.taps())
        add_port(status, *tap, "tap");
    if (status.ports_size() != 0)
        add_classifier_counters(*status.mutable_ports(0)->mutable_counters(), plane.classifier());
    add_port(status, plane.service_port(), "service");
    const CoverageCount count = plane.count_coverage();
    auto& connections = *status.mutable_connections();
    connections.set_open(count.open);
    connections.set_covered(count.covered);
    connections.set_uncovered(count.open - count.covered);
    connections.set_verified(count.verified);
    for (const auto& [coverage, number] : count.by_coverage)
        (*connections.mutable_by_coverage())[stack::to_string(coverage)] = number;
}

proto::v1::ConnectionsResponse connection_page(const DataPlane& plane, std::uint32_t cursor,
                                               std::uint32_t limit) {
    proto::v1::ConnectionsResponse response;
    const std::uint32_t wanted = limit == 0 ? max_page : std::min(limit, max_page);
    for (const auto& snapshot : plane.stack().snapshots(cursor, wanted))
        *response.add_rows() = to_connection_row(snapshot);
    response.set_next_cursor(cursor);
    return response;
}

void add_core_counters(proto::v1::CountersResponse& response, const DataPlane& plane) {
    auto& counters = *response.mutable_counters();
    for (const auto& info : stack::counter_table)
        add_counter(counters, "stack." + std::string(info.name), plane.stack().counters().*info.value,
                    info.help);
    add_classifier_counters(counters, plane.classifier());
    const auto& host = plane.host_counters();
    add_counter(counters, "app.accepted", host.accepted, "connections given to an application");
    add_counter(counters, "app.closed", host.closed, "connections that an application has seen end");
    add_counter(counters, "app.bytes_received", host.bytes_received, "bytes that applications took");
    add_counter(counters, "app.bytes_written", host.bytes_written, "bytes that applications wrote");
    add_counter(counters, "app.refused_no_application", host.refused_no_application,
                "connections of an endpoint that no application serves");
    add_counter(counters, "core.polls", plane.polls(), "turns of the poll loop");
    add_counter(counters, "core.sleeps", plane.sleeps(), "turns that ended in a sleep");
    add_counter(counters, "core.seeds_lost", plane.seeds_lost(),
                "connection syncs that the recording was too slow for");
}

}  // namespace understudy::tools
