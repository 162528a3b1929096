#include "tools/agent/repair_server.hh"

#include <algorithm>
#include <chrono>
#include <limits>

namespace understudy::tools {
namespace {

constexpr double burst_seconds = 0.1;

bool read_endpoint(const std::string& address, std::uint32_t port, failover::RepairEndpoint& out) {
    if (address.size() != out.address.size() || port == 0 || port > std::numeric_limits<std::uint16_t>::max())
        return false;
    std::ranges::transform(address, out.address.begin(),
                           [](char octet) { return static_cast<std::uint8_t>(octet); });
    out.port = static_cast<std::uint16_t>(port);
    return true;
}

}  // namespace

RepairServer::RepairServer(const SegmentStore& store, std::uint64_t bytes_per_second)
    : store_(store),
      bytes_per_second_(static_cast<double>(bytes_per_second)),
      budget_(bytes_per_second_ * burst_seconds) {}

std::vector<proto::v1::RepairAnswer> RepairServer::answer(const proto::v1::RepairRequest& request,
                                                          failover::Instant now) {
    std::vector<proto::v1::RepairAnswer> answers;
    ++counters_.requests;
    SegmentStore::Flow flow;
    flow.from_primary = request.from_primary();
    if (!read_endpoint(request.client_address(), request.client_port(), flow.client) ||
        !read_endpoint(request.service_address(), request.service_port(), flow.service) ||
        request.length() == 0 || request.length() > max_request_bytes) {
        ++counters_.refused_malformed;
        return answers;
    }
    const auto add = [&]() -> proto::v1::RepairAnswer& {
        answers.emplace_back().set_id(request.id());
        return answers.back();
    };
    std::uint64_t bytes = 0;
    for (const SegmentStore::Piece& piece :
         store_.find(flow, request.begin(), request.begin() + request.length())) {
        std::size_t at = 0;
        do {
            const std::size_t length = std::min(chunk_bytes, piece.bytes.size() - at);
            proto::v1::RepairAnswer& answer = add();
            answer.set_begin(piece.begin + static_cast<std::uint32_t>(at));
            answer.set_data(piece.bytes.substr(at, length));
            at += length;
            answer.set_fin(piece.fin && at == piece.bytes.size());
            bytes += length;
        } while (at < piece.bytes.size());
    }
    if (answers.empty()) {
        ++counters_.not_held;
        add().set_not_held(true);
    }
    // An answer costs something even when it carries little.
    if (!spend(bytes + answers.size() * 64, now)) {
        ++counters_.refused_rate;
        return {};
    }
    counters_.answers += answers.size();
    counters_.bytes += bytes;
    return answers;
}

bool RepairServer::spend(std::uint64_t bytes, failover::Instant now) {
    const double elapsed = std::max(0.0, std::chrono::duration<double>(now - filled_at_).count());
    filled_at_ = std::max(filled_at_, now);
    const double most = std::max(bytes_per_second_ * burst_seconds, 2.0 * max_request_bytes);
    budget_ = std::min(most, budget_ + elapsed * bytes_per_second_);
    if (budget_ < static_cast<double>(bytes)) return false;
    budget_ -= static_cast<double>(bytes);
    return true;
}

}  // namespace understudy::tools
