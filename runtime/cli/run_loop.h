// The loop of pets-run: reads lines as they come, runs them in batches, prints one result a line in input order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "pets/session.h"
#include "runtime/cli/answer_writer.h"
#include "runtime/cli/line_reader.h"
#include "runtime/cli/output.h"
#include "runtime/cli/query_line.h"

namespace pets::cli {

/// Session::run, or a stand-in for it in tests.
using AnswerQueries = std::function<Status(std::span<const Query> queries, Session::AnswerFn on_answer, void* context)>;

struct RunCounts {
  uint64_t lines = 0;  ///< answered or refused; blank ones do not count
  uint64_t failed = 0;
  uint64_t first_failed_line = 0;  ///< its number in the input, from 1, blank ones counted; 0 where none failed
};

enum class RunEnd { kInputEnd, kInterrupted, kInputError, kOutputError };

class RunLoop {
 public:
  /// All must outlive the loop. `max_queries`: lines of one batch at most.
  RunLoop(LineReader& reader, AnswerWriter& writer, Output& out, AnswerQueries answer_queries, std::size_t max_queries);

  /// Runs until the input ends, `interrupted` (asked between batches) returns true, or reading or writing fails. `on_batch` is called after
  /// each batch.
  RunEnd run(const std::function<bool()>& interrupted, const std::function<void(const RunCounts&)>& on_batch);

  const RunCounts& counts() const noexcept { return counts_; }

 private:
  enum class Collected { kBatch, kLastBatch, kInterrupted, kInputError };
  Collected collect();
  void add_line(std::span<char> line);
  void add_refused(std::string message);
  void run_batch();
  void on_answer(std::size_t query, const Answer& answer);
  void finish_line(bool answered);
  /// Prints the lines before `end` that were not queries.
  void print_refused_before(std::size_t end, std::string_view otherwise);

  struct Item {
    QueryLine line;
    uint64_t number = 0;
  };

  LineReader& reader_;
  AnswerWriter& writer_;
  Output& out_;
  AnswerQueries answer_queries_;
  std::size_t max_queries_;
  uint64_t line_number_ = 0;
  RunCounts counts_;

  // The batch; their capacity is kept from one to the next.
  std::vector<Item> items_;
  std::vector<int32_t> ids_;
  std::vector<Query> queries_;
  std::vector<std::size_t> query_items_;  ///< items_ index of each query
  std::size_t batch_bytes_ = 0;
  std::size_t printed_ = 0;  ///< items_ printed so far
};

}  // namespace pets::cli
