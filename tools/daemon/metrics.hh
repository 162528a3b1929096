// The replica's numbers for Prometheus: what status and counters say, at http://ADDR:PORT/metrics.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <prometheus/metric_family.h>

#include "proto/control.pb.h"
#include "tools/control/server.hh"

namespace understudy::tools {

// Every counter and every number of the status, by the naming rules of Prometheus; docs/operating.md lists them.
std::vector<prometheus::MetricFamily> metric_families(const proto::v1::StatusResponse& status,
                                                      const proto::v1::CountersResponse& counters);

class Metrics {
  public:
    // Serves on `listen` ("127.0.0.1:9464") with threads of its own. `handler` is asked on `io`'s thread; a scrape
    // that is not answered within two seconds is answered without numbers (understudy_up 0). Both must outlive
    // it. Throws std::runtime_error with one line when the address cannot be had.
    Metrics(boost::asio::io_context& io, ControlHandler& handler, const std::string& listen);
    // Scrapes that wait are answered without numbers.
    ~Metrics();
    Metrics(const Metrics&) = delete;
    Metrics& operator=(const Metrics&) = delete;

    int port() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace understudy::tools
