#include "tools/common/toml_config.hh"

#include <algorithm>
#include <sstream>

#include <toml++/toml.h>

namespace understudy::tools {
namespace {

std::string scalar_text(const std::string& name, const toml::node& node) {
    if (const auto* text = node.as_string()) return text->get();
    if (!node.is_integer() && !node.is_floating_point() && !node.is_boolean())
        throw CLI::ConfigError("'" + name + "' must be a string, a number, a boolean or an array of these");
    std::ostringstream text;
    node.visit([&text](const auto& element) {
        if constexpr (!toml::is_table<decltype(element)> && !toml::is_array<decltype(element)>)
            text << element;
    });
    return text.str();
}

void collect(const toml::table& table, const std::string& prefix, std::vector<CLI::ConfigItem>& items) {
    for (const auto& [key, node] : table) {
        std::string name = prefix + std::string(key.str());
        std::ranges::replace(name, '_', '-');
        if (const toml::table* inner = node.as_table()) {
            collect(*inner, name + "-", items);
            continue;
        }
        CLI::ConfigItem item;
        item.name = name;
        if (const toml::array* array = node.as_array())
            for (const toml::node& element : *array)
                item.inputs.push_back(scalar_text(name, element));
        else
            item.inputs.push_back(scalar_text(name, node));
        items.push_back(std::move(item));
    }
}

}  // namespace

std::string TomlConfig::to_config(const CLI::App*, bool, bool, std::string) const {
    return {};
}

std::vector<CLI::ConfigItem> TomlConfig::from_config(std::istream& input) const {
    std::vector<CLI::ConfigItem> found;
    try {
        collect(toml::parse(input), "", found);
    } catch (const toml::parse_error& error) {
        std::ostringstream text;
        text << "configuration file, line " << error.source().begin.line << ", column "
             << error.source().begin.column << ": " << error.description();
        throw CLI::ConfigError(text.str(), CLI::ExitCodes::ConfigError);
    }
    return found;
}

}  // namespace understudy::tools
