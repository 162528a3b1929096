// Where connections live: records at stable addresses, found by index, id or flow.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "stack/flow_table.hh"
#include "stack/reserved_array.hh"
#include "stack/tcp/connection.hh"

namespace understudy::stack::tcp {

class ConnectionTable {
  public:
    ConnectionTable(std::uint64_t hash_secret, std::uint32_t max_connections);

    // A fresh record for `key`, which must not be in the table; nullptr when the table is full.
    Connection* create(const FlowKey& key);
    // Gives the record back; its id is dead from now on.
    void destroy(Connection& connection);

    Connection* find(const FlowKey& key);
    Connection* find(ConnectionId id);
    const Connection* find(ConnectionId id) const;
    Connection& at(std::uint32_t index) { return connections_[index]; }
    const Connection& at(std::uint32_t index) const { return connections_[index]; }

    const FlowTable& flows() const { return flows_; }
    std::size_t size() const { return flows_.size(); }
    // One past the highest index ever used; records in between may be out of use.
    std::uint32_t index_end() const { return static_cast<std::uint32_t>(connections_.size()); }

  private:
    ReservedArray<Connection> connections_;
    std::vector<std::uint32_t> free_;
    FlowTable flows_;
};

}  // namespace understudy::stack::tcp
