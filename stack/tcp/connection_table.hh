// Where connections live: records at stable addresses, found by index, id or flow.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "stack/flow_table.hh"
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
    Connection& at(std::uint32_t index) { return chunks_[index / chunk_size][index % chunk_size]; }
    const Connection& at(std::uint32_t index) const {
        return chunks_[index / chunk_size][index % chunk_size];
    }

    const FlowTable& flows() const { return flows_; }
    std::size_t size() const { return flows_.size(); }
    // One past the highest index ever used; records in between may be out of use.
    std::uint32_t index_end() const { return next_unused_; }

  private:
    static constexpr std::uint32_t chunk_size = 256;

    std::uint32_t max_connections_;
    std::uint32_t next_unused_ = 0;
    std::vector<std::unique_ptr<Connection[]>> chunks_;
    std::vector<std::uint32_t> free_;
    FlowTable flows_;
};

}  // namespace understudy::stack::tcp
