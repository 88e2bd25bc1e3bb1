// What pets-run prints for one line, and how: as JSON lines or as a table.
#pragma once

#include <cstddef>
#include <string_view>

#include "pets/types.h"
#include "runtime/cli/output.h"
#include "runtime/cli/query_line.h"

namespace pets::cli {

class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  /// Prints the answer of `line`, or its error where the answer has one or where it holds a number that is not finite.
  /// Returns whether it was an answer.
  virtual bool write(const QueryLine& line, const Answer& answer) = 0;
  /// Prints an error in the place of an answer.
  virtual void write_error(const QueryLine& line, std::string_view message) = 0;
};

/// The first number of an answer that is not finite, as a message; empty where there is none.
std::string_view find_non_finite(const Answer& answer) noexcept;

/// The label of logit `index`; `buffer` (at least 24 bytes) backs the name where the bundle has none.
std::string_view label_name(const TaskInfo& task, std::size_t index, char* buffer);

/// The index of the largest of `count` (at least 1) values, the first of equals.
std::size_t largest(const float* values, std::size_t count) noexcept;

}  // namespace pets::cli
