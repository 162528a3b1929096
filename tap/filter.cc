#include "tap/filter.hh"

#include <arpa/inet.h>
#include <pcap/pcap.h>
#include <rte_bpf.h>
#include <rte_malloc.h>

#include <algorithm>
#include <array>

#include "tap/dpdk_port.hh"

namespace understudy::tap {
namespace {

constexpr int snapshot_length = 262144;
// pcap_compile refuses an expression that it can prove to match nothing; a length that no frame has it
// cannot.
constexpr const char* matches_nothing = "greater 262145";
constexpr std::size_t mapped_v4_offset = 12;

struct PcapClose {
    void operator()(pcap_t* handle) const { pcap_close(handle); }
};

std::string one_line(std::string text) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
}

bpf_program compile(const std::string& expression) {
    const std::unique_ptr<pcap_t, PcapClose> ethernet(pcap_open_dead(DLT_EN10MB, snapshot_length));
    if (!ethernet) throw FilterError("filter: no memory");
    bpf_program program{};
    if (pcap_compile(ethernet.get(), &program, expression.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0)
        throw FilterError("filter \"" + one_line(expression) +
                          "\": " + one_line(pcap_geterr(ethernet.get())));
    return program;
}

std::string address_text(const ServiceEndpoint& service, std::string& family) {
    static constexpr std::array<std::uint8_t, mapped_v4_offset> mapped = {0, 0, 0, 0, 0,    0,
                                                                          0, 0, 0, 0, 0xff, 0xff};
    char text[INET6_ADDRSTRLEN] = "";
    if (std::equal(mapped.begin(), mapped.end(), service.address.begin())) {
        family = "ip";
        inet_ntop(AF_INET, &service.address[mapped_v4_offset], text, sizeof text);
    } else {
        family = "ip6";
        inet_ntop(AF_INET6, service.address.data(), text, sizeof text);
    }
    return text;
}

template <typename Unsound>
bool has_instruction(const bpf_program& program, Unsound unsound) {
    const std::span<const bpf_insn> instructions(program.bf_insns, program.bf_len);
    return std::any_of(instructions.begin(), instructions.end(), unsound);
}

// rte_bpf_convert takes the accumulator for the index register in indexed loads of bytes and words, and the
// program then reads elsewhere. Half words (ports) are right. Seen in DPDK 22.11.
bool converts_soundly(const bpf_program& program) {
    return !has_instruction(program, [](const bpf_insn& instruction) {
        return BPF_CLASS(instruction.code) == BPF_LD && BPF_MODE(instruction.code) == BPF_IND &&
               BPF_SIZE(instruction.code) != BPF_H;
    });
}

// The x86 code for "jump if any of these bits is set" lacks three bytes when the constant fits into one, and
// the process dies of it. Seen in DPDK 22.11.
bool has_sound_machine_code(const bpf_program& program) {
    return !has_instruction(program, [](const bpf_insn& instruction) {
        const auto constant = static_cast<std::int32_t>(instruction.k);
        return instruction.code == (BPF_JMP | BPF_JSET | BPF_K) &&
               constant == static_cast<std::int8_t>(constant);
    });
}

}  // namespace

struct Filter::Programs {
    bpf_program classic{};
    rte_bpf* dpdk = nullptr;
    std::uint64_t (*machine_code)(void*) = nullptr;

    Programs(const std::string& expression, FilterEngine best) : classic(compile(expression)) {
        if (best == FilterEngine::classic || !dpdk_started() || !converts_soundly(classic)) return;
        rte_bpf_prm* converted = rte_bpf_convert(&classic);
        if (converted == nullptr) return;
        dpdk = rte_bpf_load(converted);  // copies the program
        rte_free(converted);
        if (dpdk == nullptr || best != FilterEngine::dpdk_jit || !has_sound_machine_code(classic)) return;
        rte_bpf_jit jit{};
        if (rte_bpf_get_jit(dpdk, &jit) == 0) machine_code = jit.func;
    }
    ~Programs() {
        rte_bpf_destroy(dpdk);
        pcap_freecode(&classic);
    }
    Programs(const Programs&) = delete;
    Programs& operator=(const Programs&) = delete;
};

Filter::Filter(const std::string& expression, FilterEngine best)
    : programs_(std::make_unique<Programs>(expression, best)) {}
Filter::~Filter() = default;
Filter::Filter(Filter&&) noexcept = default;
Filter& Filter::operator=(Filter&&) noexcept = default;

bool Filter::matches(const Frame& frame) const {
    if (frame.handle != nullptr && programs_->dpdk != nullptr) {
        if (programs_->machine_code != nullptr) return programs_->machine_code(frame.handle) != 0;
        return rte_bpf_exec(programs_->dpdk, frame.handle) != 0;
    }
    return bpf_filter(programs_->classic.bf_insns, reinterpret_cast<const u_char*>(frame.bytes.data()),
                      frame.wire_length, static_cast<u_int>(frame.bytes.size())) != 0;
}

std::string_view Filter::engine() const {
    if (programs_->dpdk == nullptr) return "classic";
    return programs_->machine_code != nullptr ? "dpdk-jit" : "dpdk-interpreter";
}

std::string service_expression(std::span<const ServiceEndpoint> services) {
    if (services.empty()) return matches_nothing;
    std::string expression;
    for (const ServiceEndpoint& service : services) {
        std::string family;
        const std::string host = " host " + address_text(service, family);
        const std::string port = " port " + std::to_string(service.port);
        const std::string transport = service.transport == Transport::udp ? "udp" : "tcp";
        for (const char* direction : {"src", "dst"}) {
            if (!expression.empty()) expression += " or ";
            expression +=
                "(" + family + " " + direction + host + " and " + transport + " " + direction + port + ")";
        }
    }
    return expression;
}

}  // namespace understudy::tap
