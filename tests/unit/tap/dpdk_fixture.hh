// One EAL serves the whole program; where it cannot start, every test says so and is skipped.
#pragma once

#include <gtest/gtest.h>
#include <pthread.h>

#include <string>

#include "tap/dpdk_port.hh"
#include "tests/unit/tap/own_network.hh"

namespace understudy::tap::test {

class DpdkTest : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        // Before the EAL makes threads.
        if (!dpdk_started()) no_network() = test::enter_own_network();
        cpu_set_t before, after;
        pthread_getaffinity_np(pthread_self(), sizeof before, &before);
        try {
            start_dpdk({.arguments = "--no-huge -m 256"});
            failure().clear();
        } catch (const PortError& error) {
            failure() = error.what();
        }
        pthread_getaffinity_np(pthread_self(), sizeof after, &after);
        EXPECT_TRUE(CPU_EQUAL(&before, &after)) << "the calling thread lost its affinity";
    }
    void SetUp() override {
        if (!failure().empty()) GTEST_SKIP() << failure();
    }

    static std::string& failure() {
        static std::string text;
        return text;
    }
    static std::string& no_network() {
        static std::string text;
        return text;
    }
};

}  // namespace understudy::tap::test
