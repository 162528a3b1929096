// Where the processes of replicated programs come in: the listening end of proto/shim_channel.hh.
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "stack/address.hh"
#include "tools/daemon/data_plane.hh"

namespace understudy::tools {

struct ShimChannelCounters {
    std::uint64_t attached = 0;          // connections handed to the core of their service
    std::uint64_t refused_first = 0;     // that said nothing in time, or nothing of this version
    std::uint64_t refused_service = 0;   // of a service that no program replicates here
    std::uint64_t refused_busy = 0;      // more at once than are heard, or a core that does not keep up
};

class ShimChannel {
  public:
    // Listens at `path`, replacing a dead process's socket file; mode 0660, so that root and the file's group may run
    // replicated programs. `services` are those that a program serves. Throws std::runtime_error with one clear line.
    // `io` and `plane` must outlive it.
    ShimChannel(boost::asio::io_context& io, std::filesystem::path path, std::vector<stack::Endpoint> services,
                DataPlane& plane);
    ~ShimChannel();
    ShimChannel(const ShimChannel&) = delete;
    ShimChannel& operator=(const ShimChannel&) = delete;

    const ShimChannelCounters& counters() const { return counters_; }

  private:
    struct Newcomer;

    void accept();
    void hear(std::list<Newcomer>::iterator newcomer);
    void refuse(std::list<Newcomer>::iterator newcomer, int error);

    boost::asio::io_context& io_;
    std::filesystem::path path_;
    std::vector<stack::Endpoint> services_;
    DataPlane& plane_;
    boost::asio::posix::stream_descriptor listener_;
    std::list<Newcomer> newcomers_;
    ShimChannelCounters counters_;
};

}  // namespace understudy::tools
