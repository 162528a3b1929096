// Hears when interfaces of this host lose their link or get it back.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

namespace understudy::tools {

class PortWatch {
  public:
    // `present`: all of them have carrier. Called on the io_context's thread, for each change.
    using OnCarrier = std::function<void(bool present)>;

    // Listens to the kernel's notifications (rtnetlink). Throws std::runtime_error with one clear line.
    PortWatch(boost::asio::io_context& io, std::vector<std::string> interfaces, OnCarrier on_carrier);
    ~PortWatch();
    PortWatch(const PortWatch&) = delete;
    PortWatch& operator=(const PortWatch&) = delete;

    bool carrier() const;

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace understudy::tools
