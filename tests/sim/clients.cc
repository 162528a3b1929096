#include "tests/sim/clients.hh"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "shadow_app/ticker.hh"

namespace understudy::sim {
namespace {

using shadow_app::Connection;
using stack::CloseReason;

// Sends the pattern message by message. Echo: expects it back, one message outstanding. Discard: expects
// nothing.
class PatternClient final : public ScriptedClient {
  public:
    PatternClient(ConnectionPlan plan, const EventQueue& queue)
        : ScriptedClient(std::move(plan), queue), pattern_(plan_.pattern_key) {
        for (const std::uint32_t length : plan_.message_bytes)
            total_ += length;
        report_.expected = expects_echo() ? total_ : 0;
    }

    void writable(Connection& connection) override { write_on(connection); }

    void timer(Connection& connection) override {
        if (std::exchange(reading_paused_, false)) connection.resume_receive();
        if (std::exchange(thinking_, false)) {
            allowed_ += plan_.message_bytes[next_message_++];
            write_on(connection);
        }
    }

  protected:
    void begin(Connection& connection) override { go_on(connection); }

    std::size_t take(Connection& connection, std::span<const std::byte> bytes) override {
        if (!expects_echo()) {
            fail(fmt::format("{} bytes from a server that never answers", bytes.size()));
            return bytes.size();
        }
        if (reading_paused_) return 0;
        const std::size_t count = plan_.reads_at_most == 0
                                      ? bytes.size()
                                      : std::min<std::size_t>(bytes.size(), plan_.reads_at_most);
        judge(bytes.first(count));
        if (count < bytes.size()) {
            reading_paused_ = true;
            connection.set_timer(plan_.read_pause);
        }
        if (report_.received == allowed_ && report_.sent == allowed_) go_on(connection);
        return count;
    }

    bool is_complete() const override {
        return report_.sent == total_ && report_.received == report_.expected;
    }

  private:
    bool expects_echo() const { return plan_.app == AppKind::echo; }

    void judge(std::span<const std::byte> bytes) {
        const std::uint64_t at = report_.received;
        report_.received += bytes.size();
        if (report_.received > report_.sent)
            fail(fmt::format("{} bytes came back of {} sent", report_.received, report_.sent));
        else if (const auto wrong = pattern_.first_difference(at, bytes))
            fail(fmt::format("wrong byte at offset {}", *wrong));
    }

    // The last message is done: the next one after its think time, or the end.
    void go_on(Connection& connection) {
        if (next_message_ < plan_.message_bytes.size()) {
            thinking_ = true;
            connection.set_timer(plan_.think[next_message_]);
        } else {
            connection.shutdown_write();
        }
    }

    void write_on(Connection& connection) {
        const auto bytes = pattern_.bytes(report_.sent, static_cast<std::size_t>(allowed_ - report_.sent));
        const std::size_t taken = connection.write(bytes);
        report_.sent += taken;
        if (taken != 0) note_progress();
        if (report_.sent < allowed_) return;
        if (report_.sent == total_ && plan_.close_with_last_message)
            connection.shutdown_write();
        else if (!expects_echo())
            go_on(connection);
    }

    const Pattern pattern_;
    std::uint64_t total_ = 0;
    std::uint64_t allowed_ = 0;  // the end of the current message
    std::size_t next_message_ = 0;
    bool thinking_ = false;
    bool reading_paused_ = false;
};

class TickerClient final : public ScriptedClient {
  public:
    TickerClient(ConnectionPlan plan, const EventQueue& queue) : ScriptedClient(std::move(plan), queue) {
        for (std::uint64_t n = 1; n <= plan_.lines; ++n)
            report_.expected += line(n).size();
        expected_ = line(1);
    }

  protected:
    void begin(Connection& connection) override {
        const std::string request = shadow_app::format_subscription({plan_.interval_us, plan_.line_bytes});
        report_.sent = connection.write(std::as_bytes(std::span(request)));
        if (report_.sent != request.size()) fail("no room for the first line");
    }

    std::size_t take(Connection& connection, std::span<const std::byte> bytes) override {
        for (const std::byte byte : bytes) {
            if (static_cast<char>(byte) != expected_[in_line_]) {
                fail(fmt::format("wrong byte at offset {}, in line {}", report_.received, number_));
                break;
            }
            ++report_.received;
            if (++in_line_ < expected_.size()) continue;
            in_line_ = 0;
            expected_ = line(++number_);
        }
        if (number_ > plan_.lines) connection.abort();
        return bytes.size();
    }

    bool is_complete() const override { return number_ > plan_.lines; }
    CloseReason expected_end() const override { return CloseReason::aborted; }

  private:
    // Written apart from the ticker's own formatting.
    std::string line(std::uint64_t number) const {
        const std::string bare = fmt::format("tick {}", number);
        return fmt::format("{:.<{}}\n", bare, std::max<std::size_t>(bare.size() + 1, plan_.line_bytes) - 1);
    }

    std::uint64_t number_ = 1;
    std::string expected_;
    std::size_t in_line_ = 0;
};

}  // namespace

const char* to_string(AppKind kind) {
    switch (kind) {
        case AppKind::echo:
            return "echo";
        case AppKind::discard:
            return "discard";
        case AppKind::ticker:
            return "ticker";
    }
    return "?";
}

std::vector<std::byte> Pattern::bytes(std::uint64_t offset, std::size_t count) const {
    std::vector<std::byte> result(count);
    for (std::size_t i = 0; i < count; ++i)
        result[i] = at(offset + i);
    return result;
}

std::optional<std::uint64_t> Pattern::first_difference(std::uint64_t offset,
                                                       std::span<const std::byte> bytes) const {
    for (std::size_t i = 0; i < bytes.size(); ++i)
        if (bytes[i] != at(offset + i)) return offset + i;
    return std::nullopt;
}

ScriptedClient::ScriptedClient(ConnectionPlan plan, const EventQueue& queue)
    : plan_(std::move(plan)), queue_(queue) {}

void ScriptedClient::accepted(Connection& connection) {
    report_.established = true;
    note_progress();
    begin(connection);
}

std::size_t ScriptedClient::received(Connection& connection, std::span<const std::byte> bytes) {
    if (!bytes.empty() && queue_.now() >= failure_at_ && !report_.first_received_after_failure)
        report_.first_received_after_failure = queue_.now();
    const std::size_t taken = take(connection, bytes);
    if (taken != 0) note_progress();
    return taken;
}

void ScriptedClient::peer_closed(Connection& connection) {
    note_progress();
    if (!is_complete())
        fail(fmt::format("the server closed after {} of {} bytes", report_.received, report_.expected));
    connection.shutdown_write();
}

void ScriptedClient::closed(Connection&, CloseReason reason) {
    report_.done = true;
    report_.done_at = queue_.now();
    if (reason == CloseReason::reset_by_peer || reason == CloseReason::refused)
        report_.reset = true;
    else if (reason != expected_end())
        fail(fmt::format("ended with '{}' after {} of {} bytes", stack::to_string(reason), report_.received,
                         report_.expected));
    else if (!is_complete())
        fail(fmt::format("ended after {} of {} bytes", report_.received, report_.expected));
    if (changed_) changed_(*this);
}

void ScriptedClient::fail(std::string fault) {
    if (!report_.fault.empty()) return;
    report_.fault = std::move(fault);
    if (changed_) changed_(*this);
}

std::unique_ptr<ScriptedClient> make_client(const ConnectionPlan& plan, const EventQueue& queue) {
    if (plan.app == AppKind::ticker) return std::make_unique<TickerClient>(plan, queue);
    return std::make_unique<PatternClient>(plan, queue);
}

InputJudge::InputJudge(shadow_app::Application& inner, FindPattern find, OnFault on_fault)
    : inner_(inner), find_(std::move(find)), on_fault_(std::move(on_fault)) {}

void InputJudge::accepted(Connection& connection) {
    read_[connection.client()] = 0;
    inner_.accepted(connection);
}

std::size_t InputJudge::received(Connection& connection, std::span<const std::byte> bytes) {
    const std::size_t taken = inner_.received(connection, bytes);
    std::uint64_t& read = read_[connection.client()];
    if (const auto pattern = find_(connection.client())) {
        if (const auto wrong = pattern->first_difference(read, bytes.first(taken)))
            on_fault_(fmt::format("the application of {} read a wrong byte at offset {}",
                                  stack::to_string(connection.client()), *wrong));
    }
    read += taken;
    return taken;
}

void InputJudge::closed(Connection& connection, CloseReason reason) {
    read_.erase(connection.client());
    inner_.closed(connection, reason);
}

}  // namespace understudy::sim
