// Drops all that enters or leaves the service's addresses, their address resolution included, by a table of its own
// in nftables (rules.md 21 and 22).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tools/agent/service_on_port.hh"

struct nft_ctx;

namespace understudy::tools {

class Silencer {
  public:
    static constexpr const char* table = "understudy_agent";

    // Changes nothing yet. Throws std::runtime_error with one clear line.
    explicit Silencer(const std::vector<ServiceOnPort>& services);
    ~Silencer();
    Silencer(const Silencer&) = delete;
    Silencer& operator=(const Silencer&) = delete;

    // Whether the table is there, ours or an earlier agent's.
    bool is_silent() const;
    // In one transaction. False when the kernel did not take it; why() says why.
    bool silence();
    bool let_speak();
    const std::string& why() const { return why_; }

  private:
    bool run(const std::string& commands) const;

    std::unique_ptr<nft_ctx, void (*)(nft_ctx*)> context_;
    std::string rules_;
    mutable std::string why_;
};

// The commands that silence these services, for nft.
std::string silencing_rules(const std::vector<ServiceOnPort>& services);

}  // namespace understudy::tools
