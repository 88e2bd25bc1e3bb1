#include "converter/check/drift.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>

#include "converter/check/golden_queries.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

constexpr float kLogitFloor = 1e-6F;
constexpr size_t kBatch = 64;  // queries whose answers are held at a time

size_t argmax(std::span<const float> values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

/// Adds the decisions of one answer that differ between the two bundles.
void count_flips(const TaskInfo& task, std::span<const float> reference, std::span<const float> found, TaskDrift& drift) {
  switch (task.head) {
    case pets::HeadType::kMultiLabelClassification:
      drift.decisions += reference.size();
      for (size_t i = 0; i < reference.size(); ++i) drift.flips += static_cast<uint64_t>((reference[i] > 0) != (found[i] > 0));
      break;
    case pets::HeadType::kSequenceClassification:
    case pets::HeadType::kTokenClassification:
    case pets::HeadType::kQuestionAnswering: {
      const bool span = task.head == pets::HeadType::kQuestionAnswering;  // two rows: starts and ends; flipped where either moves
      const size_t row = span ? reference.size() / 2 : task.outputs;
      bool moved = false;
      for (size_t i = 0; row != 0 && i + row <= reference.size(); i += row) {
        const bool flip = argmax(reference.subspan(i, row)) != argmax(found.subspan(i, row));
        if (span) {
          moved |= flip;
        } else {
          drift.flips += static_cast<uint64_t>(flip);
          ++drift.decisions;
        }
      }
      if (span) {
        drift.flips += static_cast<uint64_t>(moved);
        ++drift.decisions;
      }
      break;
    }
    case pets::HeadType::kRegression:
    case pets::HeadType::kEmbedding:
      break;
  }
}

std::vector<Golden> queries_of(const TaskInfo& task, Model& model, const std::vector<std::string>& calibration, uint32_t vocabulary) {
  const auto head = static_cast<HeadType>(task.head);
  std::vector<Golden> queries = golden_queries(head, model.has_tokenizer(), vocabulary, task.max_length);
  if (!model.has_tokenizer()) return queries;
  for (const std::string& line : calibration) {
    Golden& query = queries.emplace_back();
    query.has_text_pair = head == HeadType::kQuestionAnswering;
    query.text = query.has_text_pair ? golden_question() : line;
    if (query.has_text_pair) query.text_pair = line;
  }
  return queries;
}

Status compare(const TaskInfo& task, std::span<Golden> queries, ModelRunner& reference, ModelRunner& reduced, TaskDrift& drift) {
  std::vector<Golden> expected(queries.begin(), queries.end()), found = expected;
  PETS_RETURN_IF_ERROR(reference.answer(task.name, expected));
  PETS_RETURN_IF_ERROR(reduced.answer(task.name, found));
  for (size_t i = 0; i < expected.size(); ++i) {
    for (size_t j = 0; j < expected[i].logits.size(); ++j) {
      drift.largest_logit = std::max(drift.largest_logit, std::fabs(expected[i].logits[j]));
      drift.largest_change = std::max(drift.largest_change, std::fabs(expected[i].logits[j] - found[i].logits[j]));
    }
    count_flips(task, expected[i].logits, found[i].logits, drift);
  }
  return {};
}

}  // namespace

double TaskDrift::relative() const {
  return static_cast<double>(largest_change) / static_cast<double>(std::max(largest_logit, kLogitFloor));
}

Result<std::vector<std::string>> read_calibration(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Status::error(ErrorCode::kIo, "%s: cannot read it: %s", path.c_str(), std::strerror(errno));
  std::vector<std::string> lines;
  std::string line;
  for (size_t number = 1; std::getline(file, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!utf8::is_valid(line)) {
      return Status::error(ErrorCode::kInvalidArgument, "%s:%zu: not valid UTF-8", path.c_str(), number);
    }
    if (!line.empty()) lines.push_back(line);
  }
  if (file.bad()) return Status::error(ErrorCode::kIo, "%s: cannot read it: %s", path.c_str(), std::strerror(errno));
  return lines;
}

Result<std::vector<TaskDrift>> measure_drift(ModelRunner& reference, ModelRunner& reduced, const std::vector<std::string>& calibration,
                                             uint32_t vocabulary, Console& console) {
  std::vector<TaskDrift> drifts;
  const auto tasks = reference.model().tasks();
  for (const auto& task : tasks) {
    TaskDrift& drift = drifts.emplace_back();
    drift.task = task->name;
    std::vector<Golden> queries = queries_of(*task, reference.model(), calibration, vocabulary);
    for (size_t i = 0; i < queries.size(); i += kBatch) {
      const auto some = std::span(queries).subspan(i, std::min(kBatch, queries.size() - i));
      PETS_RETURN_IF_ERROR(compare(*task, some, reference, reduced, drift));
    }
    console.progress("measuring drift of tasks", drifts.size(), tasks.size());
  }
  console.clear();
  return drifts;
}

}  // namespace pets::converter
