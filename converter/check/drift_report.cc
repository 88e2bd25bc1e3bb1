#include "converter/check/drift_report.h"

#include <fmt/format.h>

#include <algorithm>

namespace pets::converter {

void sort_by_drift(std::vector<TaskDrift>& drifts) {
  std::stable_sort(drifts.begin(), drifts.end(), [](const TaskDrift& a, const TaskDrift& b) { return a.relative() > b.relative(); });
}

std::vector<std::string> drift_table(const std::vector<TaskDrift>& drifts) {
  constexpr size_t kWidestName = 40;  // code points; a longer name pushes its own line only
  size_t width = 4;
  for (const TaskDrift& drift : drifts) width = std::max(width, std::min(drift.task.size(), kWidestName));
  std::vector<std::string> lines = {
      fmt::format("{:<{}}  {:>14}  {:>16}  {}", "task", width, "largest change", "of largest logit", "labels flipped")};
  for (const TaskDrift& drift : drifts) {
    const std::string flips = drift.decisions == 0 ? "-" : fmt::format("{} of {}", drift.flips, drift.decisions);
    lines.push_back(fmt::format("{:<{}}  {:>14.3g}  {:>16.3g}  {}", drift.task, width, drift.largest_change, drift.relative(), flips));
  }
  return lines;
}

}  // namespace pets::converter
