#include "tests/packetdrill/error_queue.hh"

#include <linux/net_tstamp.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>

namespace understudy::packetdrill {
namespace {

bool is_past(std::uint32_t at, std::uint32_t end) {
    return static_cast<std::int32_t>(at - end) >= 0;
}

// Appends one control message, or notes that there is no room.
class ControlWriter {
  public:
    explicit ControlWriter(msghdr& message) : message_(message), room_(message.msg_controllen) {}
    ~ControlWriter() { message_.msg_controllen = used_; }
    ControlWriter(const ControlWriter&) = delete;
    ControlWriter& operator=(const ControlWriter&) = delete;

    template <typename T>
    void put(int level, int type, const T& value) {
        if (message_.msg_control == nullptr || room_ - used_ < CMSG_SPACE(sizeof value)) {
            message_.msg_flags |= MSG_CTRUNC;
            return;
        }
        const cmsghdr header{CMSG_LEN(sizeof value), level, type};
        auto* const at = static_cast<std::byte*>(message_.msg_control) + used_;
        std::memcpy(at, &header, sizeof header);
        std::memcpy(at + CMSG_LEN(0), &value, sizeof value);
        used_ += CMSG_SPACE(sizeof value);
    }

  private:
    msghdr& message_;
    std::size_t room_;
    std::size_t used_ = 0;
};

template <typename Address>
struct ReceivedError {
    sock_extended_err what;
    Address offender;
};

}  // namespace

void ErrorQueue::set_timestamping(std::uint32_t flags, std::uint32_t una) {
    if ((flags & ~timestamping_ & SOF_TIMESTAMPING_OPT_ID) != 0) first_byte_ = una;
    timestamping_ = flags;
}

void ErrorQueue::note_send(std::uint32_t end, bool zerocopy) {
    if (zerocopy) zerocopies_.push_back({end, next_id_++});
    constexpr std::uint32_t wanted =
        SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_ACK;
    if ((timestamping_ & wanted) != 0) stamps_.push_back({end, false});
}

// Neighbours in the queue become one range, as the kernel does.
void ErrorQueue::tell_zerocopy(std::uint32_t id) {
    if (!told_.empty()) {
        sock_extended_err& last = told_.back().what;
        if (last.ee_origin == SO_EE_ORIGIN_ZEROCOPY && last.ee_data + 1 == id) {
            last.ee_data = id;
            return;
        }
    }
    Entry entry;
    entry.what.ee_origin = SO_EE_ORIGIN_ZEROCOPY;
    entry.what.ee_code = SO_EE_CODE_ZEROCOPY_COPIED;
    entry.what.ee_info = entry.what.ee_data = id;
    told_.push_back(entry);
}

void ErrorQueue::tell_stamp(std::uint32_t kind, std::uint32_t end, stack::Instant now) {
    Entry entry;
    entry.what.ee_errno = ENOMSG;
    entry.what.ee_origin = SO_EE_ORIGIN_TIMESTAMPING;
    entry.what.ee_info = kind;
    if ((timestamping_ & SOF_TIMESTAMPING_OPT_ID) != 0) entry.what.ee_data = end - 1 - first_byte_;
    entry.at = now;
    told_.push_back(entry);
}

bool ErrorQueue::update(const stack::ConnectionSnapshot& s, bool gone, stack::Instant now) {
    const std::size_t before = told_.size();
    const bool has_freed = !zerocopies_.empty() && (gone || is_past(s.snd_una, zerocopies_.front().end));
    for (Stamp& stamp : stamps_) {
        if (stamp.sent || !is_past(s.snd_nxt, stamp.end)) continue;
        stamp.sent = true;
        if ((timestamping_ & SOF_TIMESTAMPING_TX_SCHED) != 0) tell_stamp(SCM_TSTAMP_SCHED, stamp.end, now);
        if ((timestamping_ & SOF_TIMESTAMPING_TX_SOFTWARE) != 0) tell_stamp(SCM_TSTAMP_SND, stamp.end, now);
    }
    while (!stamps_.empty() && is_past(s.snd_una, stamps_.front().end)) {
        if ((timestamping_ & SOF_TIMESTAMPING_TX_ACK) != 0)
            tell_stamp(SCM_TSTAMP_ACK, stamps_.front().end, now);
        stamps_.pop_front();
    }
    while (!zerocopies_.empty() && (gone || is_past(s.snd_una, zerocopies_.front().end))) {
        tell_zerocopy(zerocopies_.front().id);
        zerocopies_.pop_front();
    }
    return has_freed || told_.size() != before;
}

int ErrorQueue::take(msghdr& message, int domain) {
    if (told_.empty()) return -EAGAIN;
    const Entry entry = told_.front();
    told_.pop_front();
    message.msg_flags = MSG_ERRQUEUE;
    ControlWriter control(message);
    if (entry.what.ee_origin == SO_EE_ORIGIN_TIMESTAMPING) {
        // The copy of the packet that comes with it does not fit what packetdrill offers.
        message.msg_flags |= MSG_TRUNC;
        scm_timestamping times{};
        const auto since = entry.at.time_since_epoch();
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
        times.ts[0].tv_sec = seconds.count();
        times.ts[0].tv_nsec = std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds).count();
        if ((timestamping_ & SOF_TIMESTAMPING_SOFTWARE) != 0)
            control.put(SOL_SOCKET, SCM_TIMESTAMPING, times);
    }
    if (domain == AF_INET)
        control.put(IPPROTO_IP, IP_RECVERR, ReceivedError<sockaddr_in>{entry.what, {}});
    else
        control.put(IPPROTO_IPV6, IPV6_RECVERR, ReceivedError<sockaddr_in6>{entry.what, {}});
    return 0;
}

}  // namespace understudy::packetdrill
