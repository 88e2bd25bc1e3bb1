#include "converter/files/json_reader.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <vector>

#include "runtime/platform/check.h"
#include "runtime/platform/file.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

/// Watches the parser's events for what nlohmann-json accepts and we do not. Returning false drops the value: the parse ends early in
/// effect, and `problem` tells why.
template <typename Value>
class StrictEvents {
 public:
  explicit StrictEvents(const JsonLimits& limits) : limits_(limits) {}

  bool operator()(int depth, typename Value::parse_event_t event, Value& parsed) {
    using Event = typename Value::parse_event_t;
    if (!problem.empty()) return false;
    if (depth > limits_.depth) {
      problem = "nested deeper than " + std::to_string(limits_.depth) + " levels";
      return false;
    }
    if (event == Event::object_start) {
      keys_.emplace_back();
    } else if (event == Event::object_end) {
      if (!keys_.empty()) keys_.pop_back();
    } else if (event == Event::key && !keys_.empty()) {
      const auto& key = parsed.template get_ref<const std::string&>();
      if (!keys_.back().insert(key).second) problem = "duplicate key `" + utf8::printable(key) + "`";
      if (keys_.back().size() > limits_.keys_per_object)
        problem = "an object of more than " + std::to_string(limits_.keys_per_object) + " keys";
      return problem.empty();
    }
    return true;
  }

  std::string problem;

 private:
  const JsonLimits& limits_;
  std::vector<std::unordered_set<std::string>> keys_;
};

template <typename Value>
Result<Value> parse_object(std::string_view text, const std::string& path, const JsonLimits& limits) {
  if (text.size() > limits.bytes) {
    return Status::error(ErrorCode::kDamaged, "%s: JSON of %zu bytes, at most %llu are read", path.c_str(), text.size(),
                         static_cast<unsigned long long>(limits.bytes));
  }
  StrictEvents<Value> events(limits);
  try {
    Value value = Value::parse(text.begin(), text.end(), std::ref(events));
    if (!events.problem.empty()) return Status::error(ErrorCode::kDamaged, "%s: malformed JSON: %s", path.c_str(), events.problem.c_str());
    if (!value.is_object()) {
      return Status::error(ErrorCode::kDamaged, "%s: expected a JSON object, found %s", path.c_str(), value.type_name());
    }
    return value;
  } catch (const nlohmann::json::exception& error) {
    if (!events.problem.empty()) return Status::error(ErrorCode::kDamaged, "%s: malformed JSON: %s", path.c_str(), events.problem.c_str());
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ...": the part in brackets tells a user nothing.
    std::string_view what = error.what();
    if (const size_t bracket = what.find("] "); bracket != std::string_view::npos) what.remove_prefix(bracket + 2);
    return Status::error(ErrorCode::kDamaged, "%s: malformed JSON: %s", path.c_str(), utf8::printable(what, 200).c_str());
  }
}

template <typename Value>
Result<Value> load_object(const std::string& path, const JsonLimits& limits) {
  PETS_ASSIGN_OR_RETURN(const platform::MappedFile file, platform::MappedFile::open(path.c_str()));
  const auto bytes = file.bytes();
  return parse_object<Value>({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path, limits);
}

template <typename Value>
std::string text_of(const Value& value) {
  return utf8::printable(value.dump(-1, ' ', false, Value::error_handler_t::replace), 80);
}

Status missing(const std::string& path, std::string_view key, const char* expected) {
  return Status::error(ErrorCode::kInvalidArgument, "%s: `%.*s` is missing, expected %s", path.c_str(), static_cast<int>(key.size()),
                       key.data(), expected);
}

Status wrong_type(const std::string& path, std::string_view key, const std::string& expected, const OrderedJson& value) {
  return Status::error(ErrorCode::kInvalidArgument, "%s: `%.*s` is %s, expected %s", path.c_str(), static_cast<int>(key.size()), key.data(),
                       json_text(value).c_str(), expected.c_str());
}

/// Null for a key that is absent or null.
const OrderedJson* lookup(const OrderedJson& object, std::string_view key) {
  const auto found = object.find(std::string(key));
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

}  // namespace

Result<Json> parse_json_object(std::string_view text, const std::string& path, const JsonLimits& limits) {
  return parse_object<Json>(text, path, limits);
}
Result<OrderedJson> parse_config_object(std::string_view text, const std::string& path, const JsonLimits& limits) {
  return parse_object<OrderedJson>(text, path, limits);
}
Result<Json> load_json_object(const std::string& path, const JsonLimits& limits) { return load_object<Json>(path, limits); }
Result<OrderedJson> load_config_object(const std::string& path, const JsonLimits& limits) { return load_object<OrderedJson>(path, limits); }

std::string json_text(const OrderedJson& value) { return text_of(value); }
std::string json_text(const Json& value) { return text_of(value); }

Status check_keys(const OrderedJson& object, std::span<const KeyRule> rules, const std::string& path) {
  for (const auto& [key, value] : object.items()) {
    const KeyRule* rule = nullptr;
    for (const KeyRule& candidate : rules) {
      if (candidate.name == key) rule = &candidate;
    }
    if (rule == nullptr) {
      return Status::error(ErrorCode::kUnsupported, "%s: unknown key `%s` (value %s): it may change what the model computes", path.c_str(),
                           utf8::printable(key).c_str(), json_text(value).c_str());
    }
    if (rule->use != KeyUse::kDefault || value.is_null()) continue;
    const OrderedJson allowed = OrderedJson::parse(rule->allowed, nullptr, false);
    bool accepted = false;
    for (const OrderedJson& candidate : allowed) accepted = accepted || candidate == value;
    if (accepted) continue;
    const std::string expected = allowed.empty() ? "null" : json_text(allowed.front());
    return Status::error(ErrorCode::kUnsupported, "%s: `%s` is %s, expected %s%s%.*s", path.c_str(), utf8::printable(key).c_str(),
                         json_text(value).c_str(), expected.c_str(), rule->hint.empty() ? "" : ": ", static_cast<int>(rule->hint.size()),
                         rule->hint.data());
  }
  return Status::ok();
}

Result<uint64_t> get_unsigned(const OrderedJson& object, std::string_view key, const std::string& path, std::optional<uint64_t> fallback,
                              uint64_t maximum) {
  const std::string expected = "an integer from 0 to " + std::to_string(maximum);
  const OrderedJson* value = lookup(object, key);
  if (value == nullptr) return fallback ? Result<uint64_t>(*fallback) : missing(path, key, expected.c_str());
  if (!value->is_number_unsigned() || value->get<uint64_t>() > maximum) return wrong_type(path, key, expected, *value);
  return value->get<uint64_t>();
}

Result<double> get_number(const OrderedJson& object, std::string_view key, const std::string& path, std::optional<double> fallback) {
  const OrderedJson* value = lookup(object, key);
  if (value == nullptr) return fallback ? Result<double>(*fallback) : missing(path, key, "a number");
  if (!value->is_number() || !std::isfinite(value->get<double>())) return wrong_type(path, key, "a number", *value);
  return value->get<double>();
}

Result<bool> get_bool(const OrderedJson& object, std::string_view key, const std::string& path, std::optional<bool> fallback) {
  const OrderedJson* value = lookup(object, key);
  if (value == nullptr) return fallback ? Result<bool>(*fallback) : missing(path, key, "true or false");
  if (!value->is_boolean()) return wrong_type(path, key, "true or false", *value);
  return value->get<bool>();
}

Result<std::string> get_string(const OrderedJson& object, std::string_view key, const std::string& path,
                               std::optional<std::string> fallback) {
  const OrderedJson* value = lookup(object, key);
  if (value == nullptr) return fallback ? Result<std::string>(*fallback) : missing(path, key, "a string");
  if (!value->is_string()) return wrong_type(path, key, "a string", *value);
  return value->get<std::string>();
}

}  // namespace pets::converter
