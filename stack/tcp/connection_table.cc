#include "stack/tcp/connection_table.hh"

#include <cassert>

namespace understudy::stack::tcp {

ConnectionTable::ConnectionTable(std::uint64_t hash_secret, std::uint32_t max_connections)
    : connections_(max_connections),
      flows_(hash_secret, [this](std::uint32_t index) -> const FlowKey& { return at(index).key; }) {}

Connection* ConnectionTable::create(const FlowKey& key) {
    std::uint32_t index = index_end();
    if (!free_.empty()) {
        index = free_.back();
        free_.pop_back();
    } else {
        if (index == connections_.capacity()) return nullptr;
        connections_.append();
    }
    Connection& connection = at(index);
    connection.key = key;
    connection.index = index;
    connection.in_use = true;
    flows_.insert(key, index);
    return &connection;
}

void ConnectionTable::destroy(Connection& connection) {
    assert(connection.in_use);
    flows_.erase(connection.key);
    const std::uint32_t index = connection.index;
    const std::uint32_t generation = connection.generation + 1;
    connection = Connection{};
    connection.generation = generation;
    free_.push_back(index);
}

Connection* ConnectionTable::find(const FlowKey& key) {
    const std::uint32_t index = flows_.find(key);
    return index == FlowTable::none ? nullptr : &at(index);
}

const Connection* ConnectionTable::find(ConnectionId id) const {
    if (id.index >= connections_.size()) return nullptr;
    const Connection& connection = at(id.index);
    return connection.in_use && connection.generation == id.generation ? &connection : nullptr;
}

Connection* ConnectionTable::find(ConnectionId id) {
    return const_cast<Connection*>(static_cast<const ConnectionTable*>(this)->find(id));
}

}  // namespace understudy::stack::tcp
