#include "runtime/cli/table_writer.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>

#include "runtime/platform/utf8.h"

namespace pets::cli {
namespace {

constexpr std::string_view kEllipsis = "\xE2\x80\xA6";
constexpr std::size_t kGap = 2;
constexpr std::size_t kMinText = 16;
constexpr std::size_t kMinAnswer = 12;

/// What reorders the rest of a line on a terminal (explicit directional embeddings, overrides and isolates).
bool is_bidi_control(utf8proc_int32_t code) { return (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069); }

struct Glyph {
  std::size_t bytes = 1;
  std::size_t columns = 1;
  bool printable = true;
};

// The character that `text`, not empty, starts with.
Glyph first_glyph(std::string_view text) {
  Glyph glyph;
  glyph.bytes = utf8::sequence_length(text.substr(0, 4));
  if (glyph.bytes == 0) return {1, 1, false};
  utf8proc_int32_t code = 0;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(glyph.bytes), &code);
  if (utf8proc_category(code) == UTF8PROC_CATEGORY_CC || code == 0x2028 || code == 0x2029 || is_bidi_control(code))
    return {glyph.bytes, 1, false};
  glyph.columns = static_cast<std::size_t>(std::max(0, utf8proc_charwidth(code)));
  return glyph;
}

struct Cells {
  std::string answer;
  std::string score;
};

std::string preview_numbers(std::span<const float> values) {
  std::string text = "[";
  for (std::size_t i = 0; i < std::min<std::size_t>(values.size(), 2); ++i) text += fmt::format("{}{:.3f}", i == 0 ? "" : ", ", values[i]);
  if (values.size() > 2) text += fmt::format(", {}] ({} numbers)", kEllipsis, values.size());
  return values.size() > 2 ? text : text + "]";
}

std::string marked_tokens(const TaskInfo& task, const QueryLine& line, const Answer& answer) {
  char buffer[24];
  std::string text;
  const std::size_t labels = answer.tokens.empty() ? 0 : answer.logits.size() / answer.tokens.size();
  for (std::size_t t = 0; labels != 0 && t < answer.tokens.size() && text.size() < 256; ++t) {
    const AnswerToken& token = answer.tokens[t];
    const std::string_view source = token.segment == 0 ? line.text : line.text_pair;
    const std::string_view label = label_name(task, largest(answer.logits.data() + t * labels, labels), buffer);
    if (token.special || label == "O" || token.end > source.size() || token.start > token.end) continue;
    text += fmt::format("{}{}/{}", text.empty() ? "" : " ", source.substr(token.start, std::min(token.end - token.start, 64U)), label);
  }
  return text.empty() ? "(none)" : text;
}

std::string chosen_labels(const TaskInfo& task, const Answer& answer) {
  char buffer[24];
  std::string text;
  for (std::size_t i = 0; i < answer.scores.size(); ++i) {
    if (answer.scores[i] > 0.5F) text += fmt::format("{}{}", text.empty() ? "" : ", ", label_name(task, i, buffer));
  }
  return text.empty() ? "(none)" : text;
}

Cells describe(const QueryLine& line, const Answer& answer) {
  const TaskInfo& task = *answer.task;
  char buffer[24];
  switch (task.head) {
    case HeadType::kSequenceClassification: {
      if (answer.logits.empty()) return {};
      const std::size_t best = largest(answer.logits.data(), answer.logits.size());
      return {std::string(label_name(task, best, buffer)), best < answer.scores.size() ? fmt::format("{:.3f}", answer.scores[best]) : ""};
    }
    case HeadType::kMultiLabelClassification:
      return {chosen_labels(task, answer), ""};
    case HeadType::kRegression:
      return {answer.logits.size() == 1 ? fmt::format("{:.3f}", answer.logits.front()) : preview_numbers(answer.logits), ""};
    case HeadType::kTokenClassification:
      return {marked_tokens(task, line, answer), ""};
    case HeadType::kQuestionAnswering: {
      if (!answer.span.found || answer.span.end > line.text_pair.size() || answer.span.start > answer.span.end) return {"(none)", ""};
      return {std::string(line.text_pair.substr(answer.span.start, answer.span.end - answer.span.start)),
              fmt::format("{:.3f}", answer.span.score)};
    }
    case HeadType::kEmbedding:
      return {preview_numbers(answer.logits), ""};
  }
  return {};
}

}  // namespace

std::size_t display_width(std::string_view text) noexcept {
  std::size_t width = 0;
  while (!text.empty()) {
    const Glyph glyph = first_glyph(text);
    width += glyph.columns;
    text.remove_prefix(glyph.bytes);
  }
  return width;
}

std::string fit(std::string_view text, std::size_t width, bool fill) {
  // Where the text turns out too long, the result goes back to the last character before which an ellipsis still fits.
  std::string result;
  std::size_t columns = 0;
  std::size_t cut_bytes = 0;
  std::size_t cut_columns = 0;
  while (!text.empty()) {
    const Glyph glyph = first_glyph(text);
    if (columns + glyph.columns > width) {
      result.resize(cut_bytes);
      columns = cut_columns;
      if (width > 0) {
        result += kEllipsis;
        ++columns;
      }
      break;
    }
    result += glyph.printable ? text.substr(0, glyph.bytes) : " ";
    columns += glyph.columns;
    if (columns + 1 <= width) {
      cut_bytes = result.size();
      cut_columns = columns;
    }
    text.remove_prefix(glyph.bytes);
  }
  if (fill && columns < width) result.append(width - columns, ' ');
  return result;
}

TableLayout table_layout(std::size_t width, std::size_t task, std::size_t answer) noexcept {
  TableLayout layout;
  layout.task = std::clamp<std::size_t>(task, 4, 24);
  layout.answer = std::clamp<std::size_t>(answer, 6, 32);
  const std::size_t others = layout.task + layout.score + 3 * kGap;
  const std::size_t room = width > others ? width - others : 0;
  // On a narrow terminal long answers give way to the text, as far as both can still be read.
  if (room < layout.answer + kMinText) layout.answer = std::min(layout.answer, std::max(kMinAnswer, room > kMinText ? room - kMinText : 0));
  layout.text = std::max(kMinText, room > layout.answer ? room - layout.answer : 0);
  return layout;
}

void TableWriter::write_header() {
  if (has_header_) return;
  has_header_ = true;
  out_.append(fmt::format("{}  {}  {}  {:>{}}\n", fit("task", layout_.task, true), fit("text", layout_.text, true),
                          fit("answer", layout_.answer, true), "score", layout_.score));
  out_.append(
      fmt::format("{:-<{}}  {:-<{}}  {:-<{}}  {:-<{}}\n", "", layout_.task, "", layout_.text, "", layout_.answer, "", layout_.score));
}

void TableWriter::write_left_columns(const QueryLine& line) {
  write_header();
  std::string text(utf8::prefix(line.text, 4 * layout_.text + 16));
  if (line.has_text_pair) text += fmt::format(" | {}", utf8::prefix(line.text_pair, 4 * layout_.text + 16));
  if (line.has_ids) text = fmt::format("({} token ids)", line.ids_count);
  out_.append(fit(line.task.empty() ? "-" : line.task, layout_.task, true));
  out_.append("  ");
  out_.append(fit(text, layout_.text, true));
  out_.append("  ");
}

void TableWriter::write_error(const QueryLine& line, std::string_view message) {
  write_left_columns(line);
  out_.append("error: ");
  out_.append(fit(message, Status::kMaxMessage, false));
  out_.append('\n');
}

bool TableWriter::write_results(const QueryLine& line, std::span<const Answer> answers) {
  bool all = true;
  QueryLine row = line;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    row.task = line.tasks[i];
    all &= write(row, answers[i]);
  }
  return all;
}

bool TableWriter::write(const QueryLine& line, const Answer& answer) {
  if (const std::string_view problem = find_problem(answer); !problem.empty()) {
    write_error(line, problem);
    return false;
  }
  const Cells cells = describe(line, answer);
  write_left_columns(line);
  if (cells.score.empty()) {
    out_.append(fit(cells.answer, layout_.answer + kGap + layout_.score, false));
  } else {
    out_.append(fit(cells.answer, layout_.answer, true));
    out_.append(fmt::format("  {:>{}}", cells.score, layout_.score));
  }
  out_.append('\n');
  return true;
}

}  // namespace pets::cli
