// Traces as JSON lines.
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "benchmarks/serving/traces.h"

#include "runtime/platform/check.h"
#include "runtime/platform/file.h"

namespace pets::benchmarks {
namespace {

using nlohmann::json;

constexpr uint32_t kMostTasks = 10'000, kMostTokens = 65'536;

class Parser {
 public:
  explicit Parser(const char* name) : name_(name) {}

  Result<Trace> run(std::string_view text) {
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      ++number_;
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      if (!line.empty()) PETS_RETURN_IF_ERROR(read_line(line));
    }
    if (trace_.arrivals.empty()) return Status::error(ErrorCode::kDamaged, "%s: expected a query a line, found none", name_);
    return std::move(trace_);
  }

 private:
  /// What is shown of a value. dump() calls itself for what lies within: an array may be deeper than the stack.
  static std::string shown(const json* found) {
    if (found == nullptr) return "nothing";
    if (found->is_structured()) return found->is_array() ? "an array" : "an object";
    return found->dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 60);
  }
  Status error(const char* key, const char* expected, const json* found) const {
    return Status::error(ErrorCode::kDamaged, "%s:%zu: %s: expected %s, found %s", name_, number_, key, expected, shown(found).c_str());
  }

  Status read_line(std::string_view line) {
    const json object = json::parse(line, nullptr, false);
    if (!object.is_object()) {
      return Status::error(ErrorCode::kDamaged, "%s:%zu: expected a JSON object with t, task and tokens", name_, number_);
    }
    Arrival arrival;
    for (const auto& [key, value] : object.items()) {
      if (key != "t" && key != "task" && key != "tokens" && key != "priority" && key != "deadline_ms") {
        return error(key.substr(0, 40).c_str(), "one of t, task, tokens, priority, deadline_ms", &value);
      }
    }
    const auto find = [&](const char* key) { return object.contains(key) ? &object[key] : nullptr; };
    const json* const t = find("t");
    const double earliest = trace_.arrivals.empty() ? 0 : trace_.arrivals.back().seconds;
    if (t == nullptr || !t->is_number() || !(t->get<double>() >= earliest) || !std::isfinite(t->get<double>())) {
      return error("t", "seconds from 0 on, none before the line above", t);
    }
    arrival.seconds = t->get<double>();
    PETS_RETURN_IF_ERROR(read_task(find("task"), arrival.task));
    const json* const tokens = find("tokens");
    if (tokens == nullptr || !tokens->is_number_unsigned() || tokens->get<uint64_t>() == 0 || tokens->get<uint64_t>() > kMostTokens) {
      return error("tokens", "1 to 65536", tokens);
    }
    arrival.tokens = tokens->get<uint32_t>();
    if (const json* const priority = find("priority"); priority != nullptr) {
      const bool wraps = priority->is_number_unsigned() && priority->get<uint64_t>() > INT32_MAX;  // read as an int64_t
      if (!priority->is_number_integer() || wraps || priority->get<int64_t>() < INT32_MIN) {
        return error("priority", "a 32-bit integer", priority);
      }
      arrival.priority = priority->get<int32_t>();
    }
    if (const json* const deadline = find("deadline_ms"); deadline != nullptr) {
      if (!deadline->is_number() || !(deadline->get<double>() > 0) || !std::isfinite(deadline->get<double>())) {
        return error("deadline_ms", "milliseconds above 0", deadline);
      }
      arrival.deadline_seconds = deadline->get<double>() / 1e3;
    }
    trace_.arrivals.push_back(arrival);
    return Status::ok();
  }

  Status read_task(const json* task, uint32_t& number) {
    if (task == nullptr || !(task->is_string() || task->is_number_unsigned())) return error("task", "a name or a number", task);
    if (named_.value_or(task->is_string()) != task->is_string()) return error("task", "a name on all lines, or a number on all", task);
    named_ = task->is_string();
    if (!*named_) {
      if (task->get<uint64_t>() >= kMostTasks) return error("task", "a number below 10000", task);
      number = task->get<uint32_t>();
      trace_.tasks = std::max(trace_.tasks, number + 1);
      return Status::ok();
    }
    const auto [found, added] = numbers_.emplace(task->get<std::string>(), trace_.tasks);
    number = found->second;
    if (!added) return Status::ok();
    if (trace_.tasks == kMostTasks) return error("task", "at most 10000 names", task);
    trace_.task_names.push_back(found->first);
    ++trace_.tasks;
    return Status::ok();
  }

  const char* name_;
  size_t number_ = 0;
  Trace trace_;
  std::optional<bool> named_;
  std::map<std::string, uint32_t> numbers_;
};

}  // namespace

Result<Trace> parse_trace(std::string_view text, const char* name) { return Parser(name).run(text); }

Result<Trace> read_trace(const char* path) {
  PETS_ASSIGN_OR_RETURN(const platform::MappedFile file, platform::MappedFile::open(path, true));
  return parse_trace({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path);
}

std::string trace_text(const Trace& trace) {
  std::string text;
  for (const Arrival& arrival : trace.arrivals) {
    json line = {{"t", arrival.seconds}, {"tokens", arrival.tokens}};
    line["task"] = trace.task_names.empty() ? json(arrival.task) : json(trace.task_names[arrival.task]);
    if (arrival.priority != 0) line["priority"] = arrival.priority;
    if (arrival.deadline_seconds > 0) line["deadline_ms"] = arrival.deadline_seconds * 1e3;
    text.append(line.dump()).append("\n");
  }
  return text;
}

}  // namespace pets::benchmarks
