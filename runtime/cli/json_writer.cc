#include "runtime/cli/json_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "runtime/platform/utf8.h"

namespace pets::cli {
namespace {

void write_json_integer(Output& out, uint32_t value) {
  std::array<char, 16> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

// Rows of `columns` numbers as nested arrays.
void write_rows(Output& out, std::span<const float> values, std::size_t columns) {
  out.append('[');
  for (std::size_t at = 0; columns != 0 && at + columns <= values.size(); at += columns) {
    if (at != 0) out.append(',');
    write_json_numbers(out, values.subspan(at, columns));
  }
  out.append(']');
}

}  // namespace

void write_json_string(Output& out, std::string_view text) {
  out.append('"');
  while (!text.empty()) {
    std::size_t plain = 0;
    std::size_t bytes = 0;
    while (plain < text.size() && text[plain] != '"' && text[plain] != '\\' && static_cast<unsigned char>(text[plain]) >= 0x20 &&
           (bytes = utf8::sequence_length(text.substr(plain, 4))) != 0) {
      plain += bytes;
    }
    out.append(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) break;
    switch (text.front()) {
      case '"':
        out.append("\\\"");
        break;
      case '\\':
        out.append("\\\\");
        break;
      case '\n':
        out.append("\\n");
        break;
      case '\r':
        out.append("\\r");
        break;
      case '\t':
        out.append("\\t");
        break;
      default:
        if (static_cast<unsigned char>(text.front()) < 0x20) {
          out.append(fmt::format("\\u{:04x}", static_cast<unsigned char>(text.front())));
        } else {
          out.append("\xEF\xBF\xBD");
        }
    }
    text.remove_prefix(1);
  }
  out.append('"');
}

void write_json_number(Output& out, float value) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

void write_json_numbers(Output& out, std::span<const float> values) {
  out.append('[');
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i != 0) out.append(',');
    write_json_number(out, values[i]);
  }
  out.append(']');
}

void JsonLinesWriter::open(const QueryLine& line) {
  out_.append('{');
  if (line.id.empty()) return;
  out_.append("\"id\":");
  out_.append(line.id);
  out_.append(',');
}

void JsonLinesWriter::write_error(const QueryLine& line, std::string_view message) {
  open(line);
  out_.append("\"error\":");
  write_json_string(out_, message);
  out_.append("}\n");
}

bool JsonLinesWriter::write(const QueryLine& line, const Answer& answer) {
  if (const std::string_view problem = find_problem(answer); !problem.empty()) {
    write_error(line, problem);
    return false;
  }
  open(line);
  write_members(line, answer);
  out_.append('\n');
  return true;
}

bool JsonLinesWriter::write_results(const QueryLine& line, std::span<const Answer> answers) {
  bool all = true;
  open(line);
  out_.append("\"results\":[");
  for (std::size_t i = 0; i < answers.size(); ++i) {
    out_.append(i == 0 ? "{" : ",{");
    const std::string_view problem = find_problem(answers[i]);
    if (problem.empty()) {
      write_members(line, answers[i]);
      continue;
    }
    all = false;
    out_.append("\"task\":");
    write_json_string(out_, line.tasks[i]);
    out_.append(",\"error\":");
    write_json_string(out_, problem);
    out_.append('}');
  }
  out_.append("]}\n");
  return all;
}

void JsonLinesWriter::write_members(const QueryLine& line, const Answer& answer) {
  const TaskInfo& task = *answer.task;
  out_.append("\"task\":");
  write_json_string(out_, task.name);
  switch (task.head) {
    case HeadType::kSequenceClassification:
      write_classification(task, answer);
      break;
    case HeadType::kMultiLabelClassification:
      write_multi_label(task, answer);
      break;
    case HeadType::kRegression:
      out_.append(",\"value\":");
      if (answer.logits.size() == 1) {
        write_json_number(out_, answer.logits.front());
      } else {
        write_json_numbers(out_, answer.logits);
      }
      break;
    case HeadType::kTokenClassification:
      write_tokens(task, line, answer);
      break;
    case HeadType::kQuestionAnswering:
      write_span(line, answer.span);
      break;
    case HeadType::kEmbedding:
      out_.append(",\"embedding\":");
      write_json_numbers(out_, answer.logits);
      break;
  }
  if (answer.truncated) out_.append(",\"truncated\":true");
  if (logits_) write_logits(task, answer);
  out_.append('}');
}

void JsonLinesWriter::write_scores(const TaskInfo& task, const Answer& answer) {
  char buffer[24];
  out_.append(",\"scores\":{");
  for (std::size_t i = 0; i < answer.scores.size(); ++i) {
    if (i != 0) out_.append(',');
    write_json_string(out_, label_name(task, i, buffer));
    out_.append(':');
    write_json_number(out_, answer.scores[i]);
  }
  out_.append('}');
}

void JsonLinesWriter::write_classification(const TaskInfo& task, const Answer& answer) {
  char buffer[24];
  out_.append(",\"label\":");
  write_json_string(out_, label_name(task, largest(answer.logits.data(), answer.logits.size()), buffer));
  write_scores(task, answer);
}

void JsonLinesWriter::write_multi_label(const TaskInfo& task, const Answer& answer) {
  char buffer[24];
  out_.append(",\"labels\":[");
  bool first = true;
  for (std::size_t i = 0; i < answer.scores.size(); ++i) {
    if (!(answer.scores[i] > 0.5F)) continue;
    if (!first) out_.append(',');
    first = false;
    write_json_string(out_, label_name(task, i, buffer));
  }
  out_.append(']');
  write_scores(task, answer);
}

void JsonLinesWriter::write_tokens(const TaskInfo& task, const QueryLine& line, const Answer& answer) {
  char buffer[24];
  const std::size_t labels = answer.tokens.empty() ? 0 : answer.logits.size() / answer.tokens.size();
  std::array<utf8::CodePointCounter, 2> counters{utf8::CodePointCounter(line.text), utf8::CodePointCounter(line.text_pair)};
  out_.append(",\"tokens\":[");
  bool first = true;
  for (std::size_t t = 0; labels != 0 && t < answer.tokens.size(); ++t) {
    const AnswerToken& token = answer.tokens[t];
    if (token.special) continue;
    if (!first) out_.append(',');
    first = false;
    const std::string_view text = token.segment == 0 ? line.text : line.text_pair;
    const std::size_t start = std::min<std::size_t>(token.start, text.size());
    const std::size_t end = std::clamp<std::size_t>(token.end, start, text.size());
    utf8::CodePointCounter& counter = counters[token.segment == 0 ? 0 : 1];
    out_.append("{\"start\":");
    write_json_integer(out_, counter.before(start));
    out_.append(",\"end\":");
    write_json_integer(out_, counter.before(end));
    out_.append(",\"text\":");
    write_json_string(out_, text.substr(start, end - start));
    const std::size_t best = largest(answer.logits.data() + t * labels, labels);
    out_.append(",\"label\":");
    write_json_string(out_, label_name(task, best, buffer));
    out_.append(",\"score\":");
    write_json_number(out_, t * labels + best < answer.scores.size() ? answer.scores[t * labels + best] : 0.0F);
    out_.append('}');
  }
  out_.append(']');
}

void JsonLinesWriter::write_span(const QueryLine& line, const AnswerSpan& span) {
  if (!span.found) {
    out_.append(",\"answer\":null");
    return;
  }
  const std::size_t start = std::min<std::size_t>(span.start, line.text_pair.size());
  const std::size_t end = std::clamp<std::size_t>(span.end, start, line.text_pair.size());
  utf8::CodePointCounter counter(line.text_pair);
  out_.append(",\"answer\":{\"text\":");
  write_json_string(out_, line.text_pair.substr(start, end - start));
  out_.append(",\"start\":");
  write_json_integer(out_, counter.before(start));
  out_.append(",\"end\":");
  write_json_integer(out_, counter.before(end));
  out_.append(",\"score\":");
  write_json_number(out_, span.score);
  out_.append('}');
}

void JsonLinesWriter::write_logits(const TaskInfo& task, const Answer& answer) {
  out_.append(",\"logits\":");
  switch (task.head) {
    case HeadType::kTokenClassification:
      write_rows(out_, answer.logits, answer.tokens.empty() ? 0 : answer.logits.size() / answer.tokens.size());
      break;
    case HeadType::kQuestionAnswering:
      write_rows(out_, answer.logits, answer.logits.size() / 2);
      break;
    default:
      write_json_numbers(out_, answer.logits);
  }
}

}  // namespace pets::cli
