// A table for people: columns as wide as their widest cell.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace understudy::tools {

class Table {
  public:
    enum class Align : std::uint8_t { left, right };
    struct Column {
        std::string title;
        Align align = Align::left;
    };

    explicit Table(std::vector<Column> columns);
    // One cell for each column.
    void add(std::vector<std::string> cells);
    bool empty() const { return rows_.empty(); }
    // Prints the rows so far and forgets them, the titles before the first of all. Columns never get narrower
    // from one call to the next, so that a table printed in pieces stays one.
    void print(std::ostream& out);

  private:
    std::vector<Column> columns_;
    std::vector<std::size_t> widths_;
    std::vector<std::vector<std::string>> rows_;
    bool titled_ = false;
};

}  // namespace understudy::tools
