#include "tools/daemon/attestations.hh"

#include <gtest/gtest.h>

#include "tests/unit/tools/plane_harness.hh"

namespace understudy::tools::test {
namespace {

namespace v1 = proto::v1;

class Counting final : public shadow_app::Application {
  public:
    std::size_t received(shadow_app::Connection&, std::span<const std::byte> bytes) override {
        return bytes.size();
    }
};

class Attesting : public testing::Test {
  protected:
    explicit Attesting(bool stateful = true)
        : plane({.make_application = stateful ? make_counting : DataPlane::MakeApplication()}) {}

    static std::unique_ptr<shadow_app::Application> make_counting(std::string_view) {
        return std::make_unique<Counting>();
    }
    v1::ControlResponse ask(const std::string& reason, const std::vector<std::string>& services = {}) {
        v1::AttestRequest request;
        request.set_reason(reason);
        request.mutable_services()->Add(services.begin(), services.end());
        v1::ControlResponse response;
        attestations.answer(request, [&response](const v1::ControlResponse& answer) { response = answer; });
        plane.settle();
        return response;
    }
    std::vector<v1::Event> logged() {
        const auto answer = events.read({});
        return {answer.events().begin(), answer.events().end()};
    }

    Plane plane;
    EventLog events;
    Attestations attestations{*plane.plane, events, {service_endpoint}};
};

TEST_F(Attesting, IsRecordedWithItsReason) {
    const auto response = ask("copied from the dump of 12:00");
    ASSERT_EQ(response.attest().services_size(), 1);
    EXPECT_EQ(response.attest().services(0), "10.77.0.1:7000");
    const auto entries = logged();
    ASSERT_EQ(entries.size(), 1u);
    EXPECT_EQ(entries[0].event(), "attested");
    EXPECT_NE(entries[0].fields_json().find("copied from the dump of 12:00"), std::string::npos);
}

TEST_F(Attesting, AStateThatIsLostIsAnEvent) {
    ask("both empty");
    Conversation older(1);
    plane.mirror(older.request("set k v"));
    plane.settle();
    attestations.report_losses();
    const auto entries = logged();
    ASSERT_EQ(entries.size(), 2u);
    EXPECT_EQ(entries[1].event(), "state_lost");
    EXPECT_NE(entries[1].fields_json().find("10.77.0.1:7000"), std::string::npos);
}

TEST_F(Attesting, ItNeedsAReasonOfOneLine) {
    for (const std::string reason : {"", "two\nlines"})
        EXPECT_EQ(ask(reason).error().code(), v1::ControlError::REFUSED);
    EXPECT_TRUE(logged().empty());
}

TEST_F(Attesting, OfWhatIsNoServiceIsRefused) {
    EXPECT_NE(ask("both empty", {"10.77.0.1:7001"}).error().message().find("10.77.0.1:7001"), std::string::npos);
    EXPECT_TRUE(logged().empty());
}

class AttestingNothing : public Attesting {
  protected:
    AttestingNothing() : Attesting(false) {}
};

TEST_F(AttestingNothing, WithoutAStateThereIsNothingToSay) {
    EXPECT_EQ(ask("both empty").error().code(), v1::ControlError::REFUSED);
}

}  // namespace
}  // namespace understudy::tools::test
