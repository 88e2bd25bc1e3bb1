#include "runtime/cli/run_loop.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>

namespace pets::cli {
namespace {

/// Lines on their way hold at most this much: it bounds the memory that they take.
constexpr std::size_t kMostBytes = std::size_t{1} << 20;
/// Lines that were printed and are kept for the next ones.
constexpr std::size_t kSpareLines = 256;
constexpr std::size_t kSpareBytes = 4096, kSpareAnswers = 64;

}  // namespace

/// A copy of an answer; its arrays are used again.
struct RunLoop::HeldAnswer {
  Answer answer;
  std::vector<AnswerToken> tokens;
  std::vector<float> logits, scores;

  void hold(const Answer& from) {
    answer = from;
    tokens.assign(from.tokens.begin(), from.tokens.end());
    logits.assign(from.logits.begin(), from.logits.end());
    scores.assign(from.scores.begin(), from.scores.end());
    answer.tokens = tokens;
    answer.logits = logits;
    answer.scores = scores;
  }
};

struct RunLoop::Line {
  RunLoop* loop = nullptr;
  std::vector<char> text;  // `line` points into it
  std::vector<int32_t> ids;
  QueryLine line;
  uint64_t number = 0;
  uint64_t bytes_read = 0;
  std::vector<HeldAnswer> answers;
  uint32_t waits_for = 0;  // parts, and one for the reader until it is done with the line; under the loop's mutex
};

RunLoop::RunLoop(LineReader& reader, AnswerWriter& writer, Output& out, SubmitQuery submit, std::size_t max_lines)
    : reader_(reader), writer_(writer), out_(out), submit_(std::move(submit)), max_lines_(max_lines) {
  if (::pipe2(output_failed_, O_CLOEXEC | O_NONBLOCK) == 0) reader_.also_wake(output_failed_[0]);
}

RunLoop::~RunLoop() {
  for (const int descriptor : output_failed_) {
    if (descriptor >= 0) (void)::close(descriptor);
  }
}

RunEnd RunLoop::run(const std::function<bool()>& interrupted, const std::function<void(const RunCounts&)>& on_printed) {
  std::thread printer([&] { print_all(on_printed); });
  const RunEnd end = read(interrupted);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
  }
  ready_.notify_one();
  printer.join();
  return out_.status() ? end : RunEnd::kOutputError;
}

RunEnd RunLoop::read(const std::function<bool()>& interrupted) {
  for (;;) {
    if (interrupted()) return RunEnd::kInterrupted;
    std::span<char> text;
    switch (reader_.next(text)) {
      case LineReader::Next::kLine:
        take(text);
        continue;
      case LineReader::Next::kTooLong:
        ++line_number_;
        refuse(fmt::format("the line is longer than {} bytes", kMaxLineBytes));
        continue;
      case LineReader::Next::kEnd:
        return RunEnd::kInputEnd;
      case LineReader::Next::kNeedsData:
        break;
    }
    reader_.release();  // every line was copied
    switch (reader_.fill(true)) {
      case LineReader::Fill::kWoken:
        return RunEnd::kInterrupted;
      case LineReader::Fill::kError:
        return RunEnd::kInputError;
      default:
        break;
    }
  }
}

std::unique_ptr<RunLoop::Line> RunLoop::new_line() {
  std::unique_ptr<Line> line;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!spare_.empty()) {
      line = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  if (line == nullptr) line = std::make_unique<Line>();
  line->loop = this;
  line->ids.clear();
  line->line = QueryLine();
  line->number = line_number_;
  line->bytes_read = reader_.bytes_read();
  return line;
}

RunLoop::Line& RunLoop::enqueue(std::unique_ptr<Line> line) {
  std::unique_lock<std::mutex> lock(mutex_);
  const std::size_t bytes = line->text.size();
  room_.wait(lock, [&] { return lines_.empty() || (lines_.size() < max_lines_ && bytes_ + bytes <= kMostBytes); });
  bytes_ += bytes;
  lines_.push_back(std::move(line));
  return *lines_.back();
}

void RunLoop::take(std::span<char> text) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (++line_number_ == 1 && std::string_view(text.data(), text.size()).starts_with(kByteOrderMark))
    text = text.subspan(kByteOrderMark.size());
  if (is_blank({text.data(), text.size()})) return;
  std::unique_ptr<Line> owned = new_line();
  owned->text.assign(text.begin(), text.end());
  owned->line = parse_line(owned->text.data(), owned->text.size(), owned->ids);
  const auto parts = static_cast<uint32_t>(owned->line.has_tasks ? owned->line.tasks.size() : 1);
  owned->answers.resize(std::max<std::size_t>(owned->answers.size(), parts));
  owned->waits_for = parts + 1;
  Line& line = enqueue(std::move(owned));
  if (line.line.error.empty()) {
    const Query query = to_query(line.line, line.ids);
    const std::span<const std::string_view> tasks = line.line.has_tasks ? line.line.tasks : std::span(&line.line.task, 1);
    const Status submitted = submit_(
        tasks, query,
        [](void* context, QueryId, uint32_t part, const Answer& answer) {
          Line& at = *static_cast<Line*>(context);
          at.answers[part].hold(answer);
          at.loop->answered(at, 1);
        },
        &line);
    if (submitted) return answered(line, 1);
    line.line.error = submitted.message();
  }
  answered(line, parts + 1);
}

void RunLoop::refuse(std::string message) {
  std::unique_ptr<Line> line = new_line();
  line->text.clear();
  line->line.error = std::move(message);
  line->waits_for = 1;
  answered(enqueue(std::move(line)), 1);
}

void RunLoop::answered(Line& line, uint32_t parts) {
  const std::lock_guard<std::mutex> lock(mutex_);
  line.waits_for -= parts;
  if (lines_.front()->waits_for == 0) ready_.notify_one();
}

void RunLoop::print_all(const std::function<void(const RunCounts&)>& on_printed) {
  const auto first_ready = [&] { return !lines_.empty() && lines_.front()->waits_for == 0; };
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    ready_.wait(lock, [&] { return first_ready() || (ended_ && lines_.empty()); });
    if (lines_.empty()) return;
    while (first_ready()) {
      std::unique_ptr<Line> line = std::move(lines_.front());
      lines_.pop_front();
      bytes_ -= line->text.size();
      lock.unlock();
      room_.notify_one();
      print(*line);
      if (line->text.capacity() > kSpareBytes) line->text = {};
      if (line->ids.capacity() > kSpareBytes) line->ids = {};
      if (line->answers.capacity() > kSpareAnswers) line->answers = {};
      lock.lock();
      if (spare_.size() < kSpareLines) spare_.push_back(std::move(line));
    }
    lock.unlock();
    out_.flush();
    on_printed(counts_);
    if (!out_.status() && output_failed_[1] >= 0) (void)!::write(output_failed_[1], "", 1);
    lock.lock();
  }
}

void RunLoop::print(const Line& line) {
  bool well = false;
  if (!line.line.error.empty()) {
    writer_.write_error(line.line, line.line.error);
  } else if (line.line.has_tasks) {
    answers_.clear();
    for (std::size_t i = 0; i < line.line.tasks.size(); ++i) answers_.push_back(line.answers[i].answer);
    well = writer_.write_results(line.line, answers_);
  } else {
    well = writer_.write(line.line, line.answers.front().answer);
  }
  ++counts_.lines;
  if (!well && counts_.failed++ == 0) counts_.first_failed_line = line.number;
  counts_.bytes_read = line.bytes_read;
}

}  // namespace pets::cli
