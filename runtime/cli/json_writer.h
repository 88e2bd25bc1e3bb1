// Answers as JSON lines.
#pragma once

#include <span>
#include <string_view>

#include "runtime/cli/answer_writer.h"

namespace pets::cli {

/// `text` in quotes. Bytes that are not UTF-8 become U+FFFD, so that the output is always valid JSON.
void write_json_string(Output& out, std::string_view text);
/// The shortest digits that read back as the same float32. `value` must be finite.
void write_json_number(Output& out, float value);
void write_json_numbers(Output& out, std::span<const float> values);

class JsonLinesWriter final : public AnswerWriter {
 public:
  /// `logits`: adds the head's raw output.
  JsonLinesWriter(Output& out, bool logits) : out_(out), logits_(logits) {}
  bool write(const QueryLine& line, const Answer& answer) override;
  bool write_results(const QueryLine& line, std::span<const Answer> answers) override;
  void write_error(const QueryLine& line, std::string_view message) override;

 private:
  void open(const QueryLine& line);
  /// The members of an answer's object behind its id, and the brace that ends it.
  void write_members(const QueryLine& line, const Answer& answer);
  void write_classification(const TaskInfo& task, const Answer& answer);
  void write_multi_label(const TaskInfo& task, const Answer& answer);
  void write_scores(const TaskInfo& task, const Answer& answer);
  void write_tokens(const TaskInfo& task, const QueryLine& line, const Answer& answer);
  void write_span(const QueryLine& line, const AnswerSpan& span);
  void write_logits(const TaskInfo& task, const Answer& answer);

  Output& out_;
  bool logits_;
};

}  // namespace pets::cli
