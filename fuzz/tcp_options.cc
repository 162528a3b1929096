// TCP headers: whatever is read from them can be written and read again.
#include <vector>

#include "fuzz/require.hh"
#include "stack/wire/tcp.hh"

using namespace understudy::stack::wire;
using understudy::fuzz::require;

namespace {

bool equal(const TcpOptions& a, const TcpOptions& b) {
    return a.mss == b.mss && a.window_scale_present == b.window_scale_present &&
           a.window_scale == b.window_scale && a.sack_permitted == b.sack_permitted &&
           a.timestamps_present == b.timestamps_present && a.tsval == b.tsval && a.tsecr == b.tsecr &&
           a.sack_count == b.sack_count &&
           std::equal(a.sack.begin(), a.sack.begin() + a.sack_count, b.sack.begin());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto header = parse_tcp(std::as_bytes(std::span(data, size)));
    if (!header) return 0;
    require(header->header_length <= size && header->header_length >= tcp_header_length,
            "the header lies inside");
    require(header->options.sack_count <= max_sack_blocks, "at most four SACK blocks");
    require(header->options.window_scale <= 14, "RFC 7323 2.3");
    const std::size_t length = tcp_header_length + tcp_options_length(header->options);
    if (length > tcp_header_length + tcp_max_options_length) return 0;  // repeated ones need not fit again
    std::vector<std::byte> written(length);
    write_tcp(written, *header);
    const auto again = parse_tcp(written);
    require(again.has_value(), "a written header can be read");
    require(again->seq == header->seq && again->ack == header->ack && again->window == header->window &&
                again->flags.bits == header->flags.bits && equal(again->options, header->options),
            "a written header says the same");
    return 0;
}
