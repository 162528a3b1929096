// understudy: the operator's command.
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "proto/recording.hh"
#include "tools/cli/check.hh"
#include "tools/cli/render.hh"
#include "tools/cli/run.hh"
#include "tools/common/program.hh"
#include "tools/control/client.hh"

namespace understudy::tools {
namespace {

namespace v1 = proto::v1;

constexpr const char* program = "understudy";

struct Options {
    std::string control = default_control_path;
    unsigned timeout_ms = 5000;
    bool json = false;
    std::vector<std::string> command;
    std::string from;
    bool force = false;
    std::string on_or_off;
    std::uint64_t after = 0;
    bool all = false;
    RunOptions run;
    std::string reason;
    std::vector<std::string> services;
};

ControlClient connect(const Options& options) {
    return ControlClient(options.control, std::chrono::milliseconds(options.timeout_ms));
}

// Throws ControlError for an error response and for one that answers something else.
v1::ControlResponse ask(ControlClient& client, const v1::ControlRequest& request,
                        v1::ControlResponse::BodyCase expected) {
    v1::ControlResponse response = client.call(request);
    if (response.has_error()) throw ControlError(response.error().message());
    if (response.body_case() != expected) throw ControlError("the answer is not to what was asked");
    return response;
}

v1::StatusResponse ask_status(ControlClient& client) {
    v1::ControlRequest request;
    request.mutable_status();
    return ask(client, request, v1::ControlResponse::kStatus).status();
}

int status(const Options& options) {
    ControlClient client = connect(options);
    const v1::StatusResponse answer = ask_status(client);
    if (options.json)
        std::cout << to_json(answer) << '\n';
    else
        print_status(std::cout, answer);
    return exit_success;
}

// Calls `visit` with each page until the table's end.
template <typename Visit>
void for_each_page(ControlClient& client, Visit visit) {
    v1::ControlRequest request;
    request.mutable_connections();
    for (;;) {
        const auto response = ask(client, request, v1::ControlResponse::kConnections);
        visit(response.connections());
        const std::uint32_t next = response.connections().next_cursor();
        if (next == 0) return;
        if (next <= request.connections().cursor()) throw ControlError("the connection list does not end");
        request.mutable_connections()->set_cursor(next);
    }
}

int live_connections(const Options& options) {
    ControlClient client = connect(options);
    if (options.json) {
        const char* separator = "";
        std::cout << "{\"connections\":[";
        for_each_page(client, [&separator](const v1::ConnectionsResponse& page) {
            for (const v1::ConnectionRow& row : page.rows()) {
                std::cout << separator << to_json(row);
                separator = ",\n";
            }
        });
        std::cout << "],\"datagram_services\":[";
        separator = "";
        const v1::StatusResponse told = ask_status(client);
        for (const v1::ServiceStatus& service : told.services()) {
            if (!service.has_datagrams()) continue;
            std::cout << separator << to_json(service);
            separator = ",\n";
        }
        std::cout << "]}\n";
        return exit_success;
    }
    Table table = connection_table();
    for_each_page(client, [&table](const v1::ConnectionsResponse& page) {
        for (const v1::ConnectionRow& row : page.rows())
            add_row(table, row);
        table.print(std::cout);
        for (const v1::ConnectionRow& row : page.rows())
            print_difference(std::cout, row);
    });
    print_datagram_services(std::cout, ask_status(client));
    return exit_success;
}

int recorded_connections(const Options& options) {
    // Printed in pieces: a recording may be longer than memory.
    constexpr std::uint64_t rows_per_print = 1000;
    using Result = proto::RecordingReader::Result;
    proto::RecordingReader reader(options.from);
    Table table = sync_table();
    v1::ConnectionSync sync;
    Result result = Result::message;
    if (options.json) std::cout << "{\"connections\":[";
    while ((result = reader.next(sync)) == Result::message) {
        if (options.json) {
            std::cout << (reader.count() == 1 ? "" : ",\n") << to_json(sync);
            continue;
        }
        add_row(table, sync);
        if (reader.count() % rows_per_print == 0) table.print(std::cout);
    }
    if (options.json)
        std::cout << "],\"complete\":" << (result == Result::end ? "true" : "false") << "}\n";
    else
        table.print(std::cout);
    std::cout.flush();
    if (result == Result::truncated)
        std::cerr << program << ": " << options.from << " ends inside a message, after " << reader.count()
                  << " whole ones; its writer was stopped, or is still writing\n";
    if (result == Result::corrupt)
        throw proto::RecordingError("recording " + options.from + ": corrupt after " +
                                    std::to_string(reader.count()) + " messages; the rest cannot be read");
    return exit_success;
}

int connections(const Options& options) {
    return options.from.empty() ? live_connections(options) : recorded_connections(options);
}

int check(const Options& options) {
    const ProgramCheck checked = check_program(options.command.front());
    if (options.json)
        std::cout << to_json(checked) << '\n';
    else
        print(std::cout, checked);
    return can_run(checked) ? exit_success : exit_failure;
}

// Throws for a refusal, after it was printed as JSON where that is wanted.
v1::ControlResponse command(const Options& options, const v1::ControlRequest& request,
                            v1::ControlResponse::BodyCase expected, const char* refused) {
    ControlClient client = connect(options);
    const v1::ControlResponse response = client.call(request);
    if (response.has_error()) {
        if (options.json) std::cout << to_json(response) << '\n';
        throw ControlError(refused + response.error().message());
    }
    if (response.body_case() != expected) throw ControlError("the answer is not to what was asked");
    return response;
}

int take_over(const Options& options, const v1::ControlRequest& request, const char* refused) {
    const v1::PromoteResponse result =
        command(options, request, v1::ControlResponse::kPromote, refused).promote();
    if (options.json)
        std::cout << to_json(result) << '\n';
    else
        std::cout << "this replica is master: " << result.promoted() << " connections carried on, "
                  << result.reset() << " reset, " << result.half_open() << " handshakes completed, "
                  << result.datagrams() << " datagrams sent, in " << result.takeover_ms() << " ms\n";
    return exit_success;
}

int promote(const Options& options) {
    v1::ControlRequest request;
    request.mutable_promote()->set_force(options.force);
    return take_over(options, request, "not promoted: ");
}

int switchover(const Options& options) {
    v1::ControlRequest request;
    request.mutable_switchover();
    return take_over(options, request, "no switchover: ");
}

int demote(const Options& options) {
    v1::ControlRequest request;
    request.mutable_demote();
    command(options, request, v1::ControlResponse::kDone, "not demoted: ");
    std::cout << (options.json ? "{\"demoted\":true}\n" : "this replica is silent\n");
    return exit_success;
}

int maintenance(const Options& options) {
    const bool on = options.on_or_off == "on";
    v1::ControlRequest request;
    request.mutable_maintenance()->set_on(on);
    command(options, request, v1::ControlResponse::kDone, "maintenance: ");
    if (options.json)
        std::cout << "{\"maintenance\":" << (on ? "true" : "false") << "}\n";
    else
        std::cout << "takeovers but by promote and switchover are " << (on ? "forbidden" : "allowed") << '\n';
    return exit_success;
}

int attest(const Options& options) {
    ControlClient client = connect(options);
    v1::ControlRequest request;
    auto& wanted = *request.mutable_attest();
    wanted.set_reason(options.reason);
    wanted.mutable_services()->Add(options.services.begin(), options.services.end());
    const auto response = ask(client, request, v1::ControlResponse::kAttest);
    if (options.json) {
        std::cout << to_json(response.attest()) << '\n';
        return exit_success;
    }
    for (const std::string& service : response.attest().services())
        std::cout << service << " is attested: its connections can be covered from now on\n";
    return exit_success;
}

int events(const Options& options) {
    ControlClient client = connect(options);
    const char* separator = "";
    v1::ControlRequest request;
    request.mutable_events()->set_after_sequence(options.after);
    if (options.json) std::cout << "{\"events\":[";
    // Events that happen meanwhile do not prolong the list.
    std::uint64_t last = 0;
    do {
        const auto response = ask(client, request, v1::ControlResponse::kEvents);
        if (last == 0) last = response.events().last_sequence();
        if (response.events().events().empty()) break;
        for (const v1::Event& event : response.events().events()) {
            if (options.json) {
                std::cout << separator << to_json_object(event).dump();
                separator = ",\n";
            } else {
                print_event(std::cout, event);
            }
            if (event.sequence() <= request.events().after_sequence())
                throw ControlError("the event list does not end");
            request.mutable_events()->set_after_sequence(event.sequence());
        }
    } while (request.events().after_sequence() < last);
    if (options.json) std::cout << "]}\n";
    return exit_success;
}

int counters(const Options& options) {
    ControlClient client = connect(options);
    v1::ControlRequest request;
    request.mutable_counters();
    const auto response = ask(client, request, v1::ControlResponse::kCounters);
    if (options.json)
        std::cout << to_json(response.counters()) << '\n';
    else
        print_counters(std::cout, response.counters(), options.all);
    return exit_success;
}

int run_service(const Options& options) {
    return run_program_of_service(options.run, options.control, std::chrono::milliseconds(options.timeout_ms));
}

// Becomes another program of Understudy, which stands beside this one (in a build, one folder further). Commands
// that need DPDK are programs of their own: loading it would delay all others.
int become(const std::string& name, char** words) {
    const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    const std::filesystem::path short_name = name.substr(name.find('-') + 1);
    for (const std::filesystem::path& file : {here / name, here.parent_path() / short_name / name})
        if (std::filesystem::exists(file)) ::execv(file.c_str(), words);
    throw std::system_error(errno == 0 ? ENOENT : errno, std::generic_category(), "cannot run " + name);
}

int run(int argc, char** argv) {
    if (argc > 1 && argv[1] == std::string("rehearse")) return become("understudy-rehearse", argv + 1);
    CLI::App app("Asks a running replica, or reads a recording.");
    set_up_app(app, program);
    Options options;
    app.require_subcommand(1);
    app.fallthrough();
    app.add_option("--control", options.control, "the replica's control socket")
        ->capture_default_str()
        ->type_name("PATH");
    app.add_option("--timeout-ms", options.timeout_ms, "longest wait for an answer")
        ->capture_default_str()
        ->check(CLI::Range(1, 600'000))
        ->type_name("MS");
    int (*chosen)(const Options&) = nullptr;
    const auto add = [&](const char* name, const char* help, int (*function)(const Options&)) {
        CLI::App* sub = app.add_subcommand(name, help);
        sub->add_flag("--json", options.json, "print JSON");
        sub->callback([&chosen, function] { chosen = function; });
        return sub;
    };
    add("status", "who serves, links, ports, and how many connections would survive now", status);
    add("conns", "every connection, and every UDP service", connections)
        ->add_option("--from", options.from, "read a recording of connection syncs instead")
        ->type_name("FILE");
    add("check", "whether `understudy run` serves a program, and what in it may differ from run to run; status 1: it "
                 "does not serve it",
        check)
        ->add_option("command", options.command, "the program and its arguments, after --")
        ->required()
        ->type_name("CMD");
    add("promote", "take over; refused while the primary shows signs of life", promote)
        ->add_flag("--force", options.force, "vouch that the primary does not serve");
    add("switchover", "take over from a primary that lives, through its agent, with nothing lost", switchover);
    add("demote", "give up serving; the connections are lost, and the primary may serve again", demote);
    add("maintenance", "forbid takeovers, but those of an operator, or allow them again", maintenance)
        ->add_option("STATE", options.on_or_off, "on or off")
        ->required()
        ->check(CLI::IsMember({"on", "off"}));
    CLI::App* attestation = add("attest", "vouch that the state of a program is that of the primary's", attest);
    attestation->add_option("--reason", options.reason, "how that is known, for the event log")
        ->required()
        ->type_name("TEXT");
    attestation
        ->add_option("--service", options.services, "which services; by default every one that has a state")
        ->type_name("ADDR:PORT");
    add("events", "what happened, the oldest first", events)
        ->add_option("--after", options.after, "only events with a higher sequence")
        ->type_name("N");
    add("counters", "every counter that is not zero", counters)
        ->add_flag("--all", options.all, "those at zero as well");
    CLI::App* run_command = app.add_subcommand("run", "start a program whose service this replica shadows: "
                                                      "understudy run --service ADDR:PORT -- CMD");
    run_command->add_option("--service", options.run.services, "that it serves, as the replica's --service names it "
                                                               "(repeatable)")
        ->required()
        ->allow_extra_args(false)
        ->type_name("ADDR:PORT");
    run_command->add_option("command", options.run.command, "the program and its arguments, after --")
        ->required()
        ->type_name("CMD");
    run_command->callback([&chosen] { chosen = run_service; });
    app.add_subcommand("rehearse", "plays a capture to an application: would its takeover be invisible?")
        ->callback([] { throw UsageError("rehearse must be the first word; see understudy rehearse --help"); });
    if (const auto status_code = parse_command_line(app, argc, argv)) return *status_code;
    const int result = chosen(options);
    std::cout.flush();
    if (!std::cout) throw std::runtime_error("cannot write to standard output");
    return result;
}

}  // namespace
}  // namespace understudy::tools

int main(int argc, char** argv) {
    return understudy::tools::run_program(understudy::tools::program,
                                          [&] { return understudy::tools::run(argc, argv); });
}
