// Heartbeats over UDP: pushes a Hello on each link at each interval, answers the peer's at once, and reports
// the signs of life. The replica and the agent run the same class. It has no thread of its own: everything
// happens on the given io_context, which one thread runs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>

#include "failover/heartbeat_key.hh"
#include "failover/links.hh"
#include "failover/time.hh"
#include "failover/words.hh"

namespace understudy::failover {

// The monotonic clock (CLOCK_MONOTONIC) on failover's time line.
Instant monotonic_now();

struct LinkAddressing {
    boost::asio::ip::udp::endpoint local;
    boost::asio::ip::udp::endpoint peer;
    // Bind to this interface; empty: by routing.
    std::string interface;
};
// "10.78.1.3:7800,10.78.1.2:7800" or "[fd01::3]:7800,[fd01::2]:7800", and a third part ",IFACE" if wanted.
// Throws std::invalid_argument with one clear line.
LinkAddressing parse_link_addressing(std::string_view text);
std::string to_string(const boost::asio::ip::udp::endpoint& endpoint);

struct HeartbeatSettings {
    // One to max_links. An empty list is allowed: nothing is sent or heard.
    std::vector<LinkAddressing> links;
    Duration interval = std::chrono::seconds(1);
    std::uint32_t misses = 3;
    Role role = Role::replica;
    // Nothing: messages are not authenticated.
    std::optional<HeartbeatKey> key;
    // How long a key is accepted after another replaced it.
    Duration key_overlap = std::chrono::minutes(1);

    static constexpr std::size_t max_links = 16;
};

// One clear line.
class HeartbeatError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

class HeartbeatService {
  public:
    // A sign of life was heard on `link` at `at`.
    using SignOfLife = std::function<void(std::size_t link, Instant at)>;
    // `link` was heard for the first time or again, or passed its deadline; the latter is told within an
    // interval and is for the log, not for decisions.
    using LinkChange = std::function<void(std::size_t link, bool alive)>;
    // What the peer said of itself, in a sign of life that was sent after every other so far; called after
    // SignOfLife. An older peer, or one on links without a key, says nothing.
    using OnWords = std::function<void(const PeerWords& words, Instant at)>;
    // An authentic repair message of the peer.
    using OnRepair = std::function<void(const proto::v1::Repair& message)>;

    // Opens and binds the sockets. Throws HeartbeatError when an address cannot be used,
    // std::invalid_argument for settings that cannot work. `io` must outlive the service.
    HeartbeatService(boost::asio::io_context& io, const HeartbeatSettings& settings,
                     SignOfLife on_sign_of_life, LinkChange on_link_change = {});
    // Stops. Handlers that are still queued on the io_context do nothing.
    ~HeartbeatService();
    HeartbeatService(const HeartbeatService&) = delete;
    HeartbeatService& operator=(const HeartbeatService&) = delete;

    // Before start().
    void on_words(OnWords handler);
    // What every message says of us from here on; once started, a Hello says it at once on each link.
    void say(const AgentWord& word);
    void say(const ReplicaWord& word);
    // Before start().
    void on_repair(OnRepair handler);
    // Sends a repair message over a link that is alive, each in its turn. False without a key, without such a
    // link, or when the kernel did not take it.
    bool send_repair(const proto::v1::Repair& message);
    // Sends the first Hellos and goes on by itself.
    void start();
    // Reads what waits on every link now, whether or not the io_context got round to it, and reports it.
    // Returns until when all that arrived was read. It goes on rising while more arrives than is read at
    // once: a queue is known to be read up to an instant when as many datagrams as it can hold were read
    // since.
    Instant read_all();
    // `key` is the newest from here on, and the one before it is accepted for the overlap. Both ends may do
    // it in any order. False when it is the newest already. Not on links that began without a key.
    bool rekey(const HeartbeatKey& key);
    // Nothing: messages are not authenticated.
    std::optional<KeyId> newest_key() const;
    // Closes the sockets; nothing is sent or reported afterwards.
    void stop();

    const HeartbeatSettings& settings() const;
    LinkStatus status(std::size_t link) const;
    std::optional<Duration> peer_interval() const;
    // Where the link's socket is bound: settings may leave the port 0.
    boost::asio::ip::udp::endpoint local_endpoint(std::size_t link) const;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace understudy::failover
