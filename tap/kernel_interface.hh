// What the kernel knows of a network interface that a port reads through it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace understudy::tap {

// Asks by ioctl in the network namespace it was made in: sysfs shows the namespace that mounted it.
class KernelInterface {
  public:
    explicit KernelInterface(std::string name);
    ~KernelInterface();
    KernelInterface(const KernelInterface&) = delete;
    KernelInterface& operator=(const KernelInterface&) = delete;

    const std::string& name() const { return name_; }
    bool exists() const { return index() != 0; }
    // 0 when there is no such interface.
    int index() const;
    // Administratively up.
    bool up() const;
    // Up, and connected at the far end.
    bool carrier() const;
    // 0 when the interface is gone.
    std::size_t mtu() const;
    // All zero when it has none.
    std::array<std::uint8_t, 6> link_address() const;

  private:
    short flags() const;

    std::string name_;
    int socket_;
};

}  // namespace understudy::tap
