// What reduced precision changes: the answers of the same tasks on the same queries, by two bundles.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "converter/bundle/bundle_writer.h"
#include "converter/check/model_runner.h"
#include "converter/cli/console.h"

namespace pets::converter {

struct TaskDrift {
  std::string task;
  float largest_logit = 0;   ///< largest |logit| of the reference
  float largest_change = 0;  ///< largest |logit - reference|
  uint64_t decisions = 0;    ///< labels chosen: one a query, a token, a (query, label) pair, or a span; none for numbers and embeddings
  uint64_t flips = 0;        ///< of them, those that differ

  /// largest_change / largest_logit (floor 1e-6)
  double relative() const;
};

/// Non-empty lines of a text file; an error names the first line that is not UTF-8.
Result<std::vector<std::string>> read_calibration(const std::string& path);

/// Compares all tasks of `reduced` with those of `reference` on the golden queries and the calibration texts.
Result<std::vector<TaskDrift>> measure_drift(ModelRunner& reference, ModelRunner& reduced, const std::vector<std::string>& calibration,
                                             uint32_t vocabulary, Console& console);

}  // namespace pets::converter
