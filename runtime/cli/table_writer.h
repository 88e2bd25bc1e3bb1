// Answers as an aligned table for people.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "runtime/cli/answer_writer.h"

namespace pets::cli {

/// Terminal columns that `text` takes: wide characters count two, combining ones none.
std::size_t display_width(std::string_view text) noexcept;
/// `text` on one line, cut to `width` columns with an ellipsis where it is longer, filled with spaces where it is shorter and `fill`.
std::string fit(std::string_view text, std::size_t width, bool fill);

struct TableLayout {
  std::size_t task = 12;
  std::size_t text = 48;
  std::size_t answer = 24;
  std::size_t score = 7;
};

/// Column widths for a line of `width` columns, for task names and answers that take up to `task` and `answer`.
TableLayout table_layout(std::size_t width, std::size_t task, std::size_t answer) noexcept;

class TableWriter final : public AnswerWriter {
 public:
  TableWriter(Output& out, const TableLayout& layout) : out_(out), layout_(layout) {}
  bool write(const QueryLine& line, const Answer& answer) override;
  bool write_results(const QueryLine& line, std::span<const Answer> answers) override;
  void write_error(const QueryLine& line, std::string_view message) override;

 private:
  void write_left_columns(const QueryLine& line);
  void write_header();

  Output& out_;
  TableLayout layout_;
  bool has_header_ = false;
};

}  // namespace pets::cli
