#include "tools/common/program.hh"

#include <sched.h>

#include <csignal>
#include <iostream>
#include <map>
#include <utility>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "tools/common/toml_config.hh"

namespace understudy::tools {
namespace {

std::string first_line(const std::string& text) {
    return text.substr(0, text.find('\n'));
}

std::string usage_text(const CLI::ParseError& error) {
    const std::string text = first_line(error.what());
    // CLI11 speaks of INI files, whatever the format.
    const std::string unknown_key = CLI::ConfigError::Extras("").what();
    if (!text.starts_with(unknown_key)) return text;
    return "the configuration file sets '" + text.substr(unknown_key.size()) + "', which is no option";
}

int report(const std::string& name, const std::string& what, int status) {
    std::cerr << name << ": " << first_line(what) << '\n';
    return status;
}

}  // namespace

const char* version() {
    return UNDERSTUDY_VERSION;
}

void set_up_app(CLI::App& app, const std::string& name) {
    app.name(name);
    app.set_version_flag("--version", name + " " + version());
    app.get_formatter()->column_width(44);
}

void add_config_option(CLI::App& app) {
    app.set_config("--config", "", "TOML file; its keys are the option names without --, flags go before it")
        ->type_name("FILE");
    app.config_formatter(std::make_shared<TomlConfig>());
    app.allow_config_extras(CLI::config_extras_mode::error);
}

void add_log_option(CLI::App& app) {
    static const std::map<std::string, spdlog::level::level_enum> levels = {{"debug", spdlog::level::debug},
                                                                            {"info", spdlog::level::info},
                                                                            {"warning", spdlog::level::warn},
                                                                            {"error", spdlog::level::err}};
    app.add_option_function<std::string>(
           "--log-level", [](const std::string& level) { spdlog::set_level(levels.at(level)); },
           "debug, info, warning or error; default info")
        ->check(CLI::IsMember(&levels));
}

std::optional<int> parse_command_line(CLI::App& app, int argc, const char* const* argv) {
    try {
        app.parse(argc, argv);
        return std::nullopt;
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
            app.exit(error);
            return exit_success;
        }
        return report(app.get_name(), usage_text(error) + " (--help lists the options)", exit_usage);
    }
}

int run_program(const std::string& name, const std::function<int()>& body) {
    try {
        return body();
    } catch (const UsageError& error) {
        return report(name, error.what(), exit_usage);
    } catch (const std::invalid_argument& error) {
        return report(name, error.what(), exit_usage);
    } catch (const std::exception& error) {
        return report(name, error.what(), exit_failure);
    }
}

void set_up_logging(const std::string& name) {
    const auto level = spdlog::get_level();
    auto logger = std::make_shared<spdlog::logger>(name, std::make_shared<spdlog::sinks::stderr_sink_mt>());
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%f%z level=%l program=%n %v");
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
    spdlog::set_level(level);
}

bool raise_scheduling_priority() {
    const sched_param parameters{.sched_priority = 1};
    return ::sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &parameters) == 0;
}

StopSignal::StopSignal(boost::asio::io_context& io, std::function<void(int)> on_stop)
    : signals_(io, SIGTERM, SIGINT) {
    signals_.async_wait([on_stop = std::move(on_stop)](boost::system::error_code error, int signal) {
        if (!error) on_stop(signal);
    });
}

}  // namespace understudy::tools
