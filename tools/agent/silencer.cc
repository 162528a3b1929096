#include "tools/agent/silencer.hh"

#include <nftables/libnftables.h>

#include <map>
#include <set>
#include <stdexcept>

#include <fmt/format.h>

namespace understudy::tools {
namespace {

// Before every other chain.
constexpr int priority = -500;

// A solicitation or an advertisement names the address that it is about behind eight octets (RFC 4861 4.3, 4.4).
constexpr const char* neighbour_target = "@th,64,128";

std::string hexadecimal(const stack::IpAddress& address) {
    std::string text = "0x";
    for (const std::uint8_t octet : address.octets)
        text += fmt::format("{:02x}", octet);
    return text;
}

std::string outward(const stack::IpAddress& address) {
    const std::string text = stack::to_string(address);
    if (address.is_v4()) return fmt::format("ip saddr {0} drop; arp saddr ip {0} drop;", text);
    return fmt::format("ip6 saddr {} drop; icmpv6 type nd-neighbor-advert {} {} drop;", text, neighbour_target,
                       hexadecimal(address));
}

std::string inward(const stack::IpAddress& address) {
    const std::string text = stack::to_string(address);
    if (address.is_v4()) return fmt::format("ip daddr {0} drop; arp daddr ip {0} drop;", text);
    return fmt::format("ip6 daddr {} drop; icmpv6 type nd-neighbor-solicit {} {} drop;", text, neighbour_target,
                       hexadecimal(address));
}

// Creating what is to be deleted makes the deletion succeed in any case.
std::string removal() {
    return fmt::format("add table netdev {0}\ndelete table netdev {0}\n", Silencer::table);
}

}  // namespace

std::string silencing_rules(const std::vector<ServiceOnPort>& services) {
    std::map<std::string, std::set<stack::IpAddress>> addresses;
    for (const ServiceOnPort& service : services)
        addresses[service.interface].insert(service.endpoint.address);
    std::size_t chains = 0;
    std::string rules = removal() + fmt::format("table netdev {} {{\n", Silencer::table);
    for (const auto& [interface, of_interface] : addresses) {
        std::string out, in;
        for (const stack::IpAddress& address : of_interface) {
            out += outward(address);
            in += inward(address);
        }
        rules += fmt::format(
            "chain out{4} {{ type filter hook egress device \"{0}\" priority {1}; {2} }}\n"
            "chain in{4} {{ type filter hook ingress device \"{0}\" priority {1}; {3} }}\n",
            interface, priority, out, in, chains++);
    }
    return rules + "}\n";
}

Silencer::Silencer(const std::vector<ServiceOnPort>& services)
    : context_(nft_ctx_new(NFT_CTX_DEFAULT), nft_ctx_free), rules_(silencing_rules(services)) {
    if (!context_) throw std::runtime_error("--service: cannot use nftables");
    nft_ctx_buffer_output(context_.get());
    nft_ctx_buffer_error(context_.get());
}

Silencer::~Silencer() = default;

bool Silencer::run(const std::string& commands) const {
    const bool taken = nft_run_cmd_from_buffer(context_.get(), commands.c_str()) == 0;
    nft_ctx_get_output_buffer(context_.get());
    const std::string said = nft_ctx_get_error_buffer(context_.get());
    if (!taken) why_ = said.substr(0, said.find('\n'));
    return taken;
}

bool Silencer::is_silent() const {
    return run(fmt::format("list table netdev {}", table));
}

bool Silencer::silence() {
    return run(rules_);
}

bool Silencer::let_speak() {
    return run(removal());
}

}  // namespace understudy::tools
