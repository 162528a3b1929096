#include "tests/sim/node.hh"

#include <algorithm>

namespace understudy::sim {
namespace {

constexpr int max_wakes_at_one_instant = 1000;

}  // namespace

Node::Node(std::string name, EventQueue& queue, Random random, Duration poll_interval, Transmit transmit)
    : name_(std::move(name)),
      queue_(queue),
      random_(random),
      poll_interval_(poll_interval),
      transmit_(std::move(transmit)) {}

void Node::start(const stack::Settings& settings) {
    link_address_ = settings.link_address;
    stack_.emplace(settings, *this, host_, random_);
    host_.attach(*stack_);
}

void Node::arrive(const Frame& frame, stack::Source source) {
    if (!alive_) return;
    ring_.emplace_back(frame, source);
    if (poll_scheduled_) return;
    poll_scheduled_ = true;
    queue_.after(random_.between(Duration::zero(), poll_interval_), [this] { poll(); });
}

void Node::poll() {
    poll_scheduled_ = false;
    drain();
}

void Node::drain() {
    if (!alive_ || ring_.empty()) return;
    const auto ring = std::exchange(ring_, {});
    std::vector<stack::ReceivedFrame> burst;
    for (const auto& [frame, source] : ring) {
        if (neighbours_) learn_neighbour(frame);
        burst.push_back({source, *frame, static_cast<std::uint32_t>(frame->size())});
    }
    host_.receive(burst, queue_.now());
    schedule();
}

stack::PromotionReport Node::promote() {
    const stack::PromotionReport report = host_.promote(queue_.now());
    schedule();
    return report;
}

std::size_t Node::missing(std::span<stack::MissingBytes> out, Duration min_age) {
    return stack_->missing(out, min_age, queue_.now());
}

bool Node::repair(const stack::RepairBytes& answer) {
    const bool filled = host_.repair(answer, queue_.now());
    schedule();
    return filled;
}

std::optional<stack::ConnectionId> Node::connect(const stack::Endpoint& local, const stack::Endpoint& remote,
                                                 const stack::LinkAddress& remote_link,
                                                 shadow_app::Application& application) {
    const auto id = host_.connect(local, remote, remote_link, application, queue_.now());
    schedule();
    return id;
}

void Node::keep_neighbours(const std::map<stack::IpAddress, stack::LinkAddress>& known) {
    neighbours_ = known;
}

std::span<std::byte> Node::reserve(std::size_t length) {
    outgoing_.assign(length, std::byte{0});
    return outgoing_;
}

void Node::commit() {
    if (neighbours_) address_frame();
    transmit_(std::make_shared<const std::vector<std::byte>>(std::move(outgoing_)));
    outgoing_ = {};
}

void Node::run_timers() {
    if (!alive_) return;
    wakes_at_one_instant_ = queue_.now() == last_wake_ ? wakes_at_one_instant_ + 1 : 0;
    last_wake_ = queue_.now();
    if (wakes_at_one_instant_ > max_wakes_at_one_instant) {
        fault_ = name_ + " asks for the same instant again and again";
        return;
    }
    host_.advance(queue_.now());
    schedule();
}

// One event is under way for the earliest deadline; an event that was overtaken does nothing.
void Node::schedule() {
    const auto deadline = host_.next_deadline();
    if (!deadline) return;
    const Instant at = std::max(*deadline, queue_.now());
    if (wake_at_ && *wake_at_ <= at && *wake_at_ >= queue_.now()) return;
    wake_at_ = at;
    queue_.at(at, [this, at] {
        if (wake_at_ != at) return;
        wake_at_.reset();
        run_timers();
    });
}

void Node::learn_neighbour(const Frame& frame) {
    const Packet packet = read_frame(*frame, SIZE_MAX).packet;
    if (packet.kind != Packet::Kind::arp) return;
    const auto entry = neighbours_->find(packet.arp_sender);
    if (entry != neighbours_->end()) entry->second = packet.arp_sender_link;
}

void Node::address_frame() {
    const Packet packet = read_frame(outgoing_, SIZE_MAX).packet;
    if (packet.kind != Packet::Kind::tcp) return;
    const auto entry = neighbours_->find(packet.destination.address);
    if (entry == neighbours_->end()) return;
    for (std::size_t i = 0; i < 6; ++i)
        outgoing_[i] = std::byte{entry->second.octets[i]};
}

}  // namespace understudy::sim
