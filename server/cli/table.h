// Text in aligned columns.
#pragma once
#include <algorithm>
#include <cstddef>
#include <ostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace qwend::cli {

class Table {
 public:
  // `right` are the columns that are aligned to the right: numbers.
  explicit Table(std::vector<std::string> titles, std::set<size_t> right = {}) : right_(std::move(right)) {
    add(std::move(titles));
  }
  // As many cells as titles.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  // Two blanks before each column, none at the end of a line.
  void print(std::ostream& out) const {
    std::vector<size_t> widths(rows_.front().size(), 0);
    for (const auto& row : rows_) {
      for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
    }
    for (const auto& row : rows_) {
      std::string line;
      for (size_t i = 0; i < row.size(); ++i) {
        const std::string padding(widths[i] - width(row[i]), ' ');
        line += "  " + (right_.contains(i) ? padding + row[i] : row[i] + padding);
      }
      line.resize(line.find_last_not_of(' ') + 1);
      out << line << "\n";
    }
  }

 private:
  // Code points: wide characters come out one column short, which only shifts a line.
  static size_t width(const std::string& text) {
    return static_cast<size_t>(std::count_if(
        text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
  }

  std::set<size_t> right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace qwend::cli
