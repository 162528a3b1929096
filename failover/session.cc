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
    const auto& message = std::get<proto::v1::Heartbeat>(decoded);
    Links::Received received = links_.receive(link, message, now);
    taken.sign_of_life = received.acceptance == Acceptance::sign_of_life;
    if (taken.sign_of_life) keys_.peer_holds(message.newest_key());
    if (received.reply) taken.reply = encode(*received.reply, now);
    return taken;
}

std::variant<proto::v1::Heartbeat, DatagramError> Session::decode(std::string_view bytes, Instant now) const {
    if (keys_.empty()) return is_sealed(bytes) ? DatagramError::unknown_key : decode_datagram(bytes);
    const auto opened = open_sealed(keys_, peer_of(role_), bytes, now);
    if (const auto* refusal = std::get_if<DatagramError>(&opened)) return *refusal;
    const auto& [type, body] = std::get<Opened>(opened);
    if (type != BodyType::heartbeat) return DatagramError::unknown_version;
    return decode_heartbeat(body);
}

std::string Session::encode(proto::v1::Heartbeat& message, Instant now) const {
    if (keys_.empty()) return encode_datagram(message);
    message.set_newest_key(keys_.newest().id());
    return seal(keys_.to_send_with(now), role_, BodyType::heartbeat, encode_heartbeat(message));
}

}  // namespace understudy::failover
