#include "tools/cli/table.hh"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace understudy::tools {

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
    for (const Column& column : columns_)
        widths_.push_back(column.title.size());
}

void Table::add(std::vector<std::string> cells) {
    if (cells.size() != columns_.size()) throw std::logic_error("a table row has the wrong number of cells");
    for (std::size_t i = 0; i < cells.size(); ++i)
        widths_[i] = std::max(widths_[i], cells[i].size());
    rows_.push_back(std::move(cells));
}

void Table::print(std::ostream& out) {
    const auto print_row = [&](const auto& cell_at) {
        std::string line;
        for (std::size_t i = 0; i < columns_.size(); ++i) {
            const std::string& cell = cell_at(i);
            const std::string padding(widths_[i] - cell.size(), ' ');
            line += (i == 0 ? "" : "  ");
            line += columns_[i].align == Align::left ? cell + padding : padding + cell;
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out << line << '\n';
    };
    if (!std::exchange(titled_, true))
        print_row([&](std::size_t i) -> const std::string& { return columns_[i].title; });
    for (const auto& row : rows_)
        print_row([&](std::size_t i) -> const std::string& { return row[i]; });
    rows_.clear();
}

}  // namespace understudy::tools
