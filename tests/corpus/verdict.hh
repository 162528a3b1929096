// The stack's word on each conversation, held against the manifest's answer.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/corpus/capture.hh"
#include "tests/corpus/manifest.hh"
#include "tests/corpus/shadowing.hh"

namespace understudy::corpus {

enum class Verdict : std::uint8_t {
    identical,
    uncovered,
    different,
};

struct Judged {
    const Conversation* conversation = nullptr;
    Verdict verdict = Verdict::uncovered;
    std::string reason;  // uncovered: why; different: which direction
    // Every byte of both directions is in a whole frame of what was shown.
    bool all_bytes_shown = false;
};

// The conversations of one capture, and what stays the same from one mutation to the next.
class CaptureJudge {
  public:
    // Reads the file. Throws tap::PortError. `conversations` must outlive the judge.
    CaptureJudge(const std::filesystem::path& root, std::vector<const Conversation*> conversations);

    std::vector<Judged> judge(const Mutation& mutation) const;

  private:
    struct Streams {
        std::string client_to_server, server_to_client;
        bool is_complete = false;  // every byte of both is in a whole frame
    };

    // What the stack said of `conversation`; nothing when it kept no record of it.
    const Shadowed* find(const Replay& replay, std::size_t conversation) const;
    Judged compare(std::size_t conversation, const Shadowed* shadowed) const;
    // Of each conversation, from the frames alone.
    std::vector<Streams> reconstruct(const std::vector<CapturedFrame>& frames) const;

    std::vector<const Conversation*> conversations_;
    std::vector<std::optional<stack::Endpoint>> services_;  // of each; nothing: its SYN is not in the file
    std::vector<CapturedFrame> frames_;
    ChecksumRepair checksums_;
    std::uint64_t salt_;
    // By our own reconstruction from the unaltered capture, where its hash is the manifest's.
    std::vector<std::optional<Streams>> known_;
};

}  // namespace understudy::corpus
