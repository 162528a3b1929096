// What the operator's command prints, for people and for programs.
#pragma once

#include <ostream>
#include <string>

#include <nlohmann/json.hpp>

#include "proto/connection_sync.pb.h"
#include "proto/control.pb.h"
#include "tools/cli/table.hh"

namespace understudy::tools {

// One line in Protobuf's JSON form: field names as in the .proto file, every field present, 64-bit integers
// as strings.
std::string to_json(const google::protobuf::Message& message);
// A recorded sync in the same form, but with addresses as text.
std::string to_json(const proto::v1::ConnectionSync& sync);
// An event as in the event log, with its sequence.
nlohmann::ordered_json to_json_object(const proto::v1::Event& event);

void print_status(std::ostream& out, const proto::v1::StatusResponse& status);

// The UDP services among those of a status.
void print_datagram_services(std::ostream& out, const proto::v1::StatusResponse& status);

Table connection_table();
void add_row(Table& table, const proto::v1::ConnectionRow& row);
// What both wrote where they differ, in hex and text; nothing for a row without a difference.
void print_difference(std::ostream& out, const proto::v1::ConnectionRow& row);

Table sync_table();
void add_row(Table& table, const proto::v1::ConnectionSync& sync);

// "2026-01-31T12:00:00.123456Z suspect  links=…": the wall clock in UTC.
void print_event(std::ostream& out, const proto::v1::Event& event);

// With `all` unset, counters at zero are left out.
void print_counters(std::ostream& out, const proto::v1::CountersResponse& counters, bool all);

}  // namespace understudy::tools
