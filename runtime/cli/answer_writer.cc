#include "runtime/cli/answer_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace pets::cli {

std::string_view find_non_finite(const Answer& answer) noexcept {
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!std::all_of(answer.logits.begin(), answer.logits.end(), finite)) return "the result holds a number that is not finite (a logit)";
  if (!std::all_of(answer.scores.begin(), answer.scores.end(), finite)) return "the result holds a number that is not finite (a score)";
  if (answer.span.found && !std::isfinite(answer.span.score)) return "the result holds a number that is not finite (a score)";
  return {};
}

std::string_view find_problem(const Answer& answer) noexcept {
  if (answer.status) return find_non_finite(answer);
  return answer.status.message().empty() ? std::string_view("the query failed") : answer.status.message();
}

std::string_view label_name(const TaskInfo& task, std::size_t index, char* buffer) {
  if (index < task.labels.size() && !task.labels[index].empty()) return task.labels[index];
  const auto end = fmt::format_to(buffer, "LABEL_{}", static_cast<unsigned>(index));
  return {buffer, static_cast<std::size_t>(end - buffer)};
}

std::size_t largest(const float* values, std::size_t count) noexcept {
  return static_cast<std::size_t>(std::max_element(values, values + count) - values);
}

}  // namespace pets::cli
