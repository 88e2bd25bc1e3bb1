// What pets-run prints for one line, and how: as JSON lines or as a table.
#pragma once

#include <cstddef>
#include <span>
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
  /// Prints the answers of a fan-out, one for each of `line.tasks`, each as `write` would. Returns whether all were answers.
  virtual bool write_results(const QueryLine& line, std::span<const Answer> answers) = 0;
  /// Prints an error in the place of an answer.
  virtual void write_error(const QueryLine& line, std::string_view message) = 0;
};

/// Why an answer is none: its status, or a number in it that is not finite; empty where it is one.
std::string_view find_problem(const Answer& answer) noexcept;

/// The first number of an answer that is not finite, as a message; empty where there is none.
std::string_view find_non_finite(const Answer& answer) noexcept;

/// The label of logit `index`; `buffer` (at least 24 bytes) backs the name where the bundle has none.
std::string_view label_name(const TaskInfo& task, std::size_t index, char* buffer);

/// The index of the largest of `count` (at least 1) values, the first of equals.
std::size_t largest(const float* values, std::size_t count) noexcept;

}  // namespace pets::cli
