// Shadows the conversations of one capture with the real stack, silent, in virtual time.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "stack/stack.hh"
#include "tap/classifier.hh"
#include "tests/corpus/capture.hh"
#include "tests/corpus/checksums.hh"

namespace understudy::corpus {

// What the stack said of one connection, before any answer was read.
struct Shadowed {
    stack::Endpoint client;
    stack::Endpoint service;
    std::uint32_t client_isn = 0;
    std::uint32_t primary_isn = 0;
    std::string to_application;  // what the application got
    std::string from_primary;    // the primary's tracked stream
    stack::Coverage coverage = stack::Coverage::half_open;
    std::uint64_t detail = 0;
    // Its FIN or RST was there: nothing can follow in that direction.
    bool client_ended = false;
    bool primary_ended = false;
};

// One service of one capture: a stack, and an application that records what it gets and writes what the
// primary writes.
class ShadowWorld {
  public:
    explicit ShadowWorld(const stack::Endpoint& service);
    ~ShadowWorld();

    void receive(const tap::Frame& frame, stack::Instant at);
    // The capture has ended: what still waits for its grace time is decided.
    void finish();

    // After finish(): every connection of which the stack kept a record, the latest last.
    const std::vector<Shadowed>& connections() const;
    const stack::Counters& counters() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// All worlds of one capture, fed as taps are: decapsulation, then classification, then the stack.
class Replay {
  public:
    explicit Replay(const std::vector<stack::Endpoint>& services);

    void run(const std::vector<CapturedFrame>& frames, const ChecksumRepair& checksums);
    // nullptr: the stack refuses such a service.
    const ShadowWorld* world(const stack::Endpoint& service) const {
        const auto found = worlds_.find(service);
        return found == worlds_.end() ? nullptr : found->second.get();
    }
    const tap::DecapsulationCounters& decapsulation() const { return decapsulator_.counters(); }

  private:
    tap::Decapsulator decapsulator_;
    std::map<stack::Endpoint, std::unique_ptr<ShadowWorld>> worlds_;
};

}  // namespace understudy::corpus
