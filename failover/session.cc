#include "failover/session.hh"

#include <utility>
#include <variant>

#include "failover/sealed_datagram.hh"

namespace understudy::failover {
namespace {

void count(LinkCounters& counters, DatagramError refusal) {
    switch (refusal) {
        case DatagramError::oversized:
            ++counters.refused_oversized;
            break;
        case DatagramError::malformed:
            ++counters.refused_malformed;
            break;
        case DatagramError::unknown_version:
            ++counters.refused_unknown_version;
            break;
        case DatagramError::unauthenticated:
            ++counters.refused_unauthenticated;
            break;
        case DatagramError::unknown_key:
            ++counters.refused_unknown_key;
            break;
        case DatagramError::forged:
            ++counters.refused_forged;
            break;
    }
}

Role peer_of(Role role) {
    return role == Role::replica ? Role::agent : Role::replica;
}

}  // namespace

Session::Session(const Links::Settings& links, Role role, KeyRing keys, std::function<std::uint64_t()> random)
    : role_(role), links_(links, std::move(random)), keys_(std::move(keys)) {}

void Session::say(const AgentWord& word) {
    if (!keys_.empty()) links_.say(to_message(word));
}

void Session::say(const ReplicaWord& word) {
    if (!keys_.empty()) links_.say(to_message(word));
}

std::string Session::hello(std::size_t link, Instant now) {
    proto::v1::Heartbeat message = links_.hello(link, now);
    return encode(message, now);
}

Session::Taken Session::take(std::size_t link, std::string_view bytes, Instant now) {
    Taken taken;
    const auto decoded = decode(bytes, now);
    if (const auto* refusal = std::get_if<DatagramError>(&decoded)) {
        count(links_.counters(link), *refusal);
        return taken;
    }
    if (const auto* repair = std::get_if<proto::v1::Repair>(&decoded)) {
        if (links_.accepts(link, *repair)) taken.repair = *repair;
        return taken;
    }
    const auto& message = std::get<proto::v1::Heartbeat>(decoded);
    Links::Received received = links_.receive(link, message, now);
    taken.sign_of_life = received.acceptance == Acceptance::sign_of_life;
    if (taken.sign_of_life) keys_.peer_holds(message.newest_key());
    if (received.newest) taken.words = words_in(link, message);
    if (received.reply) taken.reply = encode(*received.reply, now);
    return taken;
}

std::optional<PeerWords> Session::words_in(std::size_t link, const proto::v1::Heartbeat& message) {
    PeerWords words;
    if (keys_.empty()) {
        if (message.has_agent() || message.has_replica()) ++links_.counters(link).words_not_believed;
        return words;
    }
    if (role_ == Role::replica && message.has_agent()) words.agent = from_message(message.agent());
    if (role_ == Role::agent && message.has_replica()) words.replica = from_message(message.replica());
    return words;
}

std::string Session::repair(proto::v1::Repair message, Instant now) {
    if (keys_.empty()) return {};
    links_.stamp(message);
    return seal(keys_.to_send_with(now), role_, BodyType::repair, message.SerializeAsString());
}

Session::Decoded Session::decode(std::string_view bytes, Instant now) const {
    const auto heartbeat = [](std::variant<proto::v1::Heartbeat, DatagramError> decoded) {
        return std::visit([](auto& one) { return Decoded(std::move(one)); }, decoded);
    };
    if (keys_.empty()) {
        if (is_sealed(bytes)) return DatagramError::unknown_key;
        return heartbeat(decode_datagram(bytes));
    }
    const auto opened = open_sealed(keys_, peer_of(role_), bytes, now);
    if (const auto* refusal = std::get_if<DatagramError>(&opened)) return *refusal;
    const auto& [type, body] = std::get<Opened>(opened);
    if (type == BodyType::heartbeat) return heartbeat(decode_heartbeat(body));
    if (type != BodyType::repair) return DatagramError::unknown_version;
    proto::v1::Repair repair;
    if (!repair.ParseFromArray(body.data(), static_cast<int>(body.size()))) return DatagramError::malformed;
    return repair;
}

std::string Session::encode(proto::v1::Heartbeat& message, Instant now) const {
    if (keys_.empty()) return encode_datagram(message);
    message.set_newest_key(keys_.newest().id());
    return seal(keys_.to_send_with(now), role_, BodyType::heartbeat, encode_heartbeat(message));
}

}  // namespace understudy::failover
