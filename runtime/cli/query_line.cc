#include "runtime/cli/query_line.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <system_error>

#include "runtime/cli/json_scanner.h"
#include "runtime/platform/utf8.h"

namespace pets::cli {
namespace {

constexpr std::size_t kMaxQuotedKey = 64;

enum class Key { kId, kTask, kTasks, kText, kTextPair, kIds };

std::optional<Key> find_key(std::string_view name) {
  if (name == "id") return Key::kId;
  if (name == "task") return Key::kTask;
  if (name == "tasks") return Key::kTasks;
  if (name == "text") return Key::kText;
  if (name == "text_pair") return Key::kTextPair;
  if (name == "ids") return Key::kIds;
  return std::nullopt;
}

bool skip_value(JsonScanner& scanner, std::string_view name) {
  std::string_view ignored;
  return scanner.read_raw(name, ignored);
}

bool read_text(JsonScanner& scanner, std::string_view name, std::string_view& value) {
  const JsonKind kind = scanner.peek();
  if (kind == JsonKind::kString) return scanner.read_string(name, value);
  if (kind != JsonKind::kInvalid) scanner.content_error(fmt::format("{} must be a string, found {}", name, json_kind_name(kind)));
  return skip_value(scanner, name);
}

bool read_id_value(JsonScanner& scanner, std::size_t index, std::vector<int32_t>* ids) {
  const JsonKind kind = scanner.peek();
  if (kind != JsonKind::kNumber) {
    if (kind != JsonKind::kInvalid) scanner.content_error(fmt::format("ids[{}] must be an integer, found {}", index, json_kind_name(kind)));
    return skip_value(scanner, "ids");
  }
  std::string_view raw;
  if (!scanner.read_number(raw)) return false;
  int32_t value = 0;
  const auto [end, code] = std::from_chars(raw.data(), raw.data() + raw.size(), value);
  if (code != std::errc() || end != raw.data() + raw.size()) {
    scanner.content_error(fmt::format("ids[{}] must be an integer of 32 bits, found {}", index, raw.substr(0, 40)));
  } else if (ids != nullptr) {
    ids->push_back(value);
  }
  return true;
}

bool read_ids(JsonScanner& scanner, std::vector<int32_t>& ids) {
  const JsonKind kind = scanner.peek();
  if (kind != JsonKind::kArray) {
    if (kind != JsonKind::kInvalid) scanner.content_error(fmt::format("ids must be an array, found {}", json_kind_name(kind)));
    return skip_value(scanner, "ids");
  }
  scanner.accept('[');
  if (scanner.accept(']')) return true;
  std::size_t count = 0;
  do {
    if (!read_id_value(scanner, count, count < kMaxLineIds ? &ids : nullptr)) return false;
    ++count;
  } while (scanner.accept(','));
  if (count > kMaxLineIds) scanner.content_error(fmt::format("ids holds {} values, at most {} are possible", count, kMaxLineIds));
  return scanner.expect(']', "',' or ']'");
}

bool read_tasks(JsonScanner& scanner, std::vector<std::string_view>& tasks) {
  const JsonKind kind = scanner.peek();
  if (kind != JsonKind::kArray) {
    if (kind != JsonKind::kInvalid) scanner.content_error(fmt::format("tasks must be an array, found {}", json_kind_name(kind)));
    return skip_value(scanner, "tasks");
  }
  scanner.accept('[');
  if (scanner.accept(']')) {
    scanner.content_error("tasks must name at least one task, found none");
    return true;
  }
  std::size_t count = 0;
  do {
    std::string_view task;
    if (!read_text(scanner, fmt::format("tasks[{}]", count), task)) return false;
    if (count++ < kMaxLineTasks) tasks.push_back(task);
  } while (scanner.accept(','));
  if (count > kMaxLineTasks) scanner.content_error(fmt::format("tasks names {} tasks, at most {} are possible", count, kMaxLineTasks));
  return scanner.expect(']', "',' or ']'");
}

// One "key": value of the line's object.
bool read_member(JsonScanner& scanner, unsigned& seen, QueryLine& line, std::vector<int32_t>& ids) {
  std::string_view name;
  if (!scanner.read_string("a key", name)) return false;
  if (!scanner.expect(':', "':'")) return false;
  const std::optional<Key> key = find_key(name);
  if (!key) {
    scanner.content_error(fmt::format("unknown key \"{}{}\" (known: id, task, tasks, text, text_pair, ids)",
                                      utf8::prefix(name, kMaxQuotedKey), name.size() > kMaxQuotedKey ? "..." : ""));
    return skip_value(scanner, "an unknown key");
  }
  const unsigned bit = 1U << static_cast<unsigned>(*key);
  if ((seen & bit) != 0) {
    scanner.content_error(fmt::format("duplicate key \"{}\"", name));
    return skip_value(scanner, "a duplicate key");
  }
  seen |= bit;
  switch (*key) {
    case Key::kId: {
      // An id whose bytes are damaged is not repeated: the output must stay valid. Nor is the 0 of 01, which is not what was written.
      const std::size_t errors = scanner.errors();
      const bool ok = scanner.read_raw("id", line.id);
      if (scanner.errors() != errors || !scanner.at_boundary()) line.id = {};
      return ok;
    }
    case Key::kTask:
      return read_text(scanner, "task", line.task);
    case Key::kTasks:
      line.has_tasks = true;
      return read_tasks(scanner, line.tasks);
    case Key::kText:
      line.has_text = true;
      return read_text(scanner, "text", line.text);
    case Key::kTextPair:
      line.has_text_pair = true;
      return read_text(scanner, "text_pair", line.text_pair);
    case Key::kIds:
      line.has_ids = true;
      return read_ids(scanner, ids);
  }
  return false;
}

bool read_object(JsonScanner& scanner, unsigned& seen, QueryLine& line, std::vector<int32_t>& ids) {
  if (!scanner.accept('{')) {
    const JsonKind kind = scanner.peek();
    if (kind != JsonKind::kInvalid) scanner.content_error(fmt::format("a line must be an object, found {}", json_kind_name(kind)));
    return skip_value(scanner, "the line") && scanner.expect_end();
  }
  if (!scanner.accept('}')) {
    do {
      if (!read_member(scanner, seen, line, ids)) return false;
    } while (scanner.accept(','));
    if (!scanner.expect('}', "',' or '}'")) return false;
  }
  return scanner.expect_end();
}

std::string_view missing_or_contradictory(const QueryLine& line, unsigned seen) {
  const bool has_task = (seen & (1U << static_cast<unsigned>(Key::kTask))) != 0;
  if (has_task && line.has_tasks) return "\"tasks\" replace \"task\": give one or the other";
  if (!has_task && !line.has_tasks) return "\"task\" is missing";
  if (line.has_ids && (line.has_text || line.has_text_pair)) return "\"ids\" replace the texts: give one or the other";
  if (!line.has_ids && !line.has_text) return "\"text\" (or \"ids\") is missing";
  return {};
}

}  // namespace

bool is_blank(std::string_view line) noexcept { return line.find_first_not_of(" \t\r\n") == std::string_view::npos; }

QueryLine parse_line(char* line, std::size_t size, std::vector<int32_t>& ids) {
  QueryLine result;
  result.ids_begin = ids.size();
  JsonScanner scanner(line, size);
  unsigned seen = 0;
  if (read_object(scanner, seen, result, ids) && scanner.errors() == 0) {
    if (const std::string_view problem = missing_or_contradictory(result, seen); !problem.empty())
      scanner.content_error(std::string(problem));
  }
  result.ids_count = ids.size() - result.ids_begin;
  result.error = scanner.error();
  if (!result.error.empty()) {
    ids.resize(result.ids_begin);
    result.ids_count = 0;
  }
  return result;
}

Query to_query(const QueryLine& line, const std::vector<int32_t>& ids) noexcept {
  Query query;
  query.task = line.task;
  query.text = line.text;
  query.text_pair = line.text_pair;
  query.has_text_pair = line.has_text_pair;
  query.has_ids = line.has_ids;
  query.ids = std::span<const int32_t>(ids).subspan(line.ids_begin, line.ids_count);
  return query;
}

}  // namespace pets::cli
