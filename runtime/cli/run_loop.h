// The loop of pets-run: reads lines as they come, submits them, and prints one result a line in input order as they are ready.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pets/server.h"
#include "runtime/cli/answer_writer.h"
#include "runtime/cli/line_reader.h"
#include "runtime/cli/output.h"
#include "runtime/cli/query_line.h"

namespace pets::cli {

/// Server::submit of one or more tasks, or a stand-in for it in tests. An error says that no answer will come.
using SubmitQuery =
    std::function<Status(std::span<const std::string_view> tasks, const Query& query, Server::AnswerFn on_answer, void* context)>;

struct RunCounts {
  uint64_t lines = 0;  ///< answered or refused; blank ones do not count
  uint64_t failed = 0;
  uint64_t first_failed_line = 0;  ///< its number in the input, from 1, blank ones counted; 0 where none failed
  uint64_t bytes_read = 0;         ///< of the input, until the last of those lines
};

enum class RunEnd { kInputEnd, kInterrupted, kInputError, kOutputError };

/// Reads and submits on the thread that runs it, prints on one of its own: neither waits for the other while lines are on their way.
class RunLoop {
 public:
  /// All must outlive the loop, and tasks of answers too. `max_lines`: that are on their way at most; they hold at most about a megabyte,
  /// or one line.
  RunLoop(LineReader& reader, AnswerWriter& writer, Output& out, SubmitQuery submit, std::size_t max_lines);
  ~RunLoop();
  RunLoop(const RunLoop&) = delete;
  RunLoop& operator=(const RunLoop&) = delete;

  /// Runs until the input ends, `interrupted` (asked between lines) returns true, or reading or writing fails; lines that were read are
  /// answered and printed first. `on_printed` is called on the printing thread whenever what was ready is printed.
  RunEnd run(const std::function<bool()>& interrupted, const std::function<void(const RunCounts&)>& on_printed);

  /// After `run`.
  const RunCounts& counts() const noexcept { return counts_; }

 private:
  struct HeldAnswer;
  struct Line;
  RunEnd read(const std::function<bool()>& interrupted);
  void take(std::span<char> text);
  void refuse(std::string message);
  std::unique_ptr<Line> new_line();
  /// Waits until there is room, then puts the line behind the others. Returns it: it stays where it is until it waits for nothing more,
  /// when it may be printed and gone at once.
  Line& enqueue(std::unique_ptr<Line> line);
  /// The line waits for so many parts less.
  void answered(Line& line, uint32_t parts);
  void print_all(const std::function<void(const RunCounts&)>& on_printed);
  void print(const Line& line);

  LineReader& reader_;
  AnswerWriter& writer_;
  Output& out_;
  SubmitQuery submit_;
  std::size_t max_lines_;
  uint64_t line_number_ = 0;
  RunCounts counts_;                 // the printing thread's while it runs
  std::vector<Answer> answers_;      // of the line being printed
  int output_failed_[2] = {-1, -1};  // a pipe that wakes the reader

  std::mutex mutex_;
  std::condition_variable ready_;  // the first line is answered, or the input ended
  std::condition_variable room_;
  // Under the mutex:
  std::deque<std::unique_ptr<Line>> lines_;
  std::vector<std::unique_ptr<Line>> spare_;
  std::size_t bytes_ = 0;
  bool ended_ = false, stopped_ = false;
};

}  // namespace pets::cli
