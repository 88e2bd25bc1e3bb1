#include "runtime/cli/run_loop.h"

#include <fmt/format.h>

#include <utility>

namespace pets::cli {
namespace {

/// A batch is run once its lines hold this much: it bounds the memory that waiting lines take.
constexpr std::size_t kBatchBytes = std::size_t{1} << 20;

}  // namespace

RunLoop::RunLoop(LineReader& reader, AnswerWriter& writer, Output& out, AnswerQueries answer_queries, std::size_t max_queries)
    : reader_(reader), writer_(writer), out_(out), answer_queries_(std::move(answer_queries)), max_queries_(max_queries) {}

RunEnd RunLoop::run(const std::function<bool()>& interrupted, const std::function<void(const RunCounts&)>& on_batch) {
  while (true) {
    if (interrupted()) return RunEnd::kInterrupted;
    const Collected collected = collect();
    run_batch();
    out_.flush();
    on_batch(counts_);
    if (!out_.status()) return RunEnd::kOutputError;
    switch (collected) {
      case Collected::kBatch:
        break;
      case Collected::kLastBatch:
        return RunEnd::kInputEnd;
      case Collected::kInterrupted:
        return RunEnd::kInterrupted;
      case Collected::kInputError:
        return RunEnd::kInputError;
    }
  }
}

// Takes what has come, and waits only while there is nothing to do.
RunLoop::Collected RunLoop::collect() {
  reader_.release();
  items_.clear();
  ids_.clear();
  batch_bytes_ = 0;
  while (items_.size() < max_queries_ && batch_bytes_ < kBatchBytes) {
    std::span<char> line;
    switch (reader_.next(line)) {
      case LineReader::Next::kLine:
        add_line(line);
        continue;
      case LineReader::Next::kTooLong:
        ++line_number_;
        add_refused(fmt::format("the line is longer than {} bytes", kMaxLineBytes));
        continue;
      case LineReader::Next::kEnd:
        return Collected::kLastBatch;
      case LineReader::Next::kNeedsData:
        break;
    }
    switch (reader_.fill(items_.empty())) {
      case LineReader::Fill::kData:
      case LineReader::Fill::kEnd:
        continue;
      case LineReader::Fill::kNotReady:
      case LineReader::Fill::kFull:
        return Collected::kBatch;
      case LineReader::Fill::kWoken:
        return Collected::kInterrupted;
      case LineReader::Fill::kError:
        return Collected::kInputError;
    }
  }
  return Collected::kBatch;
}

void RunLoop::add_line(std::span<char> line) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (++line_number_ == 1 && std::string_view(line.data(), line.size()).starts_with(kByteOrderMark))
    line = line.subspan(kByteOrderMark.size());
  if (is_blank({line.data(), line.size()})) return;
  batch_bytes_ += line.size();
  items_.push_back({parse_line(line.data(), line.size(), ids_), line_number_});
}

void RunLoop::add_refused(std::string message) {
  QueryLine line;
  line.error = std::move(message);
  items_.push_back({std::move(line), line_number_});
}

void RunLoop::run_batch() {
  queries_.clear();
  query_items_.clear();
  printed_ = 0;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (!items_[i].line.error.empty()) continue;
    queries_.push_back(to_query(items_[i].line, ids_));
    query_items_.push_back(i);
  }
  Status status;
  if (!queries_.empty()) {
    status = answer_queries_(
        queries_, [](void* context, std::size_t query, const Answer& answer) { static_cast<RunLoop*>(context)->on_answer(query, answer); },
        this);
  }
  print_refused_before(items_.size(), status ? "no answer came" : status.message());
}

void RunLoop::on_answer(std::size_t query, const Answer& answer) {
  const std::size_t item = query_items_[query];
  print_refused_before(item, "no answer came");
  finish_line(writer_.write(items_[item].line, answer));
}

void RunLoop::print_refused_before(std::size_t end, std::string_view otherwise) {
  while (printed_ < end) {
    const QueryLine& line = items_[printed_].line;
    writer_.write_error(line, line.error.empty() ? otherwise : std::string_view(line.error));
    finish_line(false);
  }
}

void RunLoop::finish_line(bool answered) {
  ++counts_.lines;
  if (!answered && counts_.failed++ == 0) counts_.first_failed_line = items_[printed_].number;
  ++printed_;
}

}  // namespace pets::cli
