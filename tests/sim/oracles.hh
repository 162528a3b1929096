// The judges. Each watches the whole run and says, in a sentence, what must never be and was.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/event_queue.hh"
#include "tests/sim/packet.hh"

namespace understudy::sim {

// Where violations go: which oracle, and what it saw.
using Accuse = std::function<void(const std::string& oracle, const std::string& what)>;

// Every frame that any host sends has right lengths, checksums and flags, and comes from its own address.
class FormOracle {
  public:
    FormOracle(Accuse accuse, std::size_t mtu) : accuse_(std::move(accuse)), mtu_(mtu) {}
    // Returns what was read, for the judges that follow.
    Packet on_sent(const std::string& node, const stack::LinkAddress& own, const Frame& frame) const;

  private:
    Accuse accuse_;
    std::size_t mtu_;
};

// No frame leaves the replica before it has taken over.
class SilenceOracle {
  public:
    explicit SilenceOracle(Accuse accuse) : accuse_(std::move(accuse)) {}
    void on_replica_sent(const Packet& packet);
    void on_takeover() { taken_over_ = true; }
    std::uint64_t frames_before_takeover() const { return frames_; }

  private:
    Accuse accuse_;
    bool taken_over_ = false;
    std::uint64_t frames_ = 0;
};

// The server never resets a connection that its client has not done with.
class ResetOracle {
  public:
    using IsLive = std::function<bool(const stack::Endpoint& client)>;
    ResetOracle(Accuse accuse, IsLive is_live) : accuse_(std::move(accuse)), is_live_(std::move(is_live)) {}
    void on_server_sent(const std::string& node, const Packet& packet) const;

  private:
    Accuse accuse_;
    IsLive is_live_;
};

// What both ends of each connection put on the wire is one conversation, whoever speaks for the server: one
// initial sequence number, one version of each byte, one end; nobody acknowledges what was not sent, takes an
// acknowledgement back, or sends beyond the window.
class ConversationOracle {
  public:
    explicit ConversationOracle(Accuse accuse) : accuse_(std::move(accuse)) {}
    // The replica may know less than the primary did: its acknowledgements may stand behind the primary's,
    // and it may answer a SYN again without having seen how the primary did.
    void forgive_ignorance() { forgiving_ = true; }
    void on_sent(const std::string& node, bool from_server, const Packet& packet);

  private:
    // One direction. Offsets count from the byte after the SYN.
    struct Stream {
        bool opened = false;
        std::uint32_t isn = 0;
        std::vector<std::uint32_t>
            offered_isns;  // by a server; the client's acknowledgement says which counts
        std::uint8_t scale = 0;
        std::vector<std::byte> bytes;
        std::vector<bool> known;
        std::int64_t end = 0;               // of the data sent
        std::optional<std::int64_t> fin;    // the offset at which it stands
        std::optional<std::int64_t> acked;  // the highest acknowledgement of the other side's stream
        std::int64_t edge = 0;              // of the window advertised to the other side
    };
    struct Conversation {
        Stream client, server;
    };

    void on_syn(const std::string& where, Stream& from, const Stream& to, const Packet& packet);
    void on_acknowledgement(const std::string& where, bool from_server, Stream& from, Stream& to,
                            const Packet& packet);
    void on_payload(const std::string& where, Stream& from, const Stream& to, const Packet& packet);

    Accuse accuse_;
    bool forgiving_ = false;
    std::map<stack::Endpoint, Conversation> conversations_;  // by client
};

}  // namespace understudy::sim
