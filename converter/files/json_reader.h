// Strict JSON for everything the converter reads: duplicate keys, deep nesting and oversized files are refused, no exception leaves.
// Also the accounting of configuration keys: a key is read, known not to matter, at its default, or refused by name.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "pets/status.h"

namespace pets::converter {

using Json = nlohmann::json;
/// Keeps keys in file order (lookups are linear: for configuration files only).
using OrderedJson = nlohmann::ordered_json;

struct JsonLimits {
  uint64_t bytes = uint64_t{16} << 20U;
  size_t keys_per_object = 1'000'000;
  int depth = 32;
};
/// For configuration files, whose objects are searched linearly.
constexpr JsonLimits kConfigLimits = {uint64_t{1} << 20U, 4096, 32};

/// Parses one JSON object. `path` serves for messages.
Result<Json> parse_json_object(std::string_view text, const std::string& path, const JsonLimits& limits = {});
Result<OrderedJson> parse_config_object(std::string_view text, const std::string& path, const JsonLimits& limits = kConfigLimits);
/// Reads and parses a file that holds one JSON object.
Result<Json> load_json_object(const std::string& path, const JsonLimits& limits = {});
Result<OrderedJson> load_config_object(const std::string& path, const JsonLimits& limits = kConfigLimits);

enum class KeyUse : uint8_t {
  kRead,        ///< the reader looks at it
  kIrrelevant,  ///< known not to change what is computed
  kDefault      ///< would change what is computed: must be null or one of `allowed`
};
struct KeyRule {
  std::string_view name;
  KeyUse use = KeyUse::kRead;
  std::string_view allowed = "[]";  ///< kDefault: a JSON array of accepted values
  std::string_view hint = "";       ///< kDefault: appended to the refusal
};
/// Every key of `object` must have a rule, and every `kDefault` key an accepted value. The first that has not is refused by name.
Status check_keys(const OrderedJson& object, std::span<const KeyRule> rules, const std::string& path);

/// The value at `key`, or `fallback` where the key is absent or null; without a fallback that is an error.
Result<uint64_t> get_unsigned(const OrderedJson& object, std::string_view key, const std::string& path, std::optional<uint64_t> fallback,
                              uint64_t maximum);
Result<double> get_number(const OrderedJson& object, std::string_view key, const std::string& path, std::optional<double> fallback);
Result<bool> get_bool(const OrderedJson& object, std::string_view key, const std::string& path, std::optional<bool> fallback);
Result<std::string> get_string(const OrderedJson& object, std::string_view key, const std::string& path,
                               std::optional<std::string> fallback);

/// The value as JSON text, cut for a message.
std::string json_text(const OrderedJson& value);
std::string json_text(const Json& value);

}  // namespace pets::converter
