#include "converter/peft/peft_targets.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "converter/peft/peft_config.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

Status wrong_value(const std::string& path, const char* key, const OrderedJson& value, const char* expected) {
  return Status::error(ErrorCode::kInvalidArgument, "%s: `%s` is %s, expected %s", path.c_str(), key, json_text(value).c_str(), expected);
}

/// The texts of a list. A value of another kind is an error.
Result<std::vector<std::string>> read_names(const OrderedJson& value, const char* key, const std::string& path) {
  constexpr const char* kExpected = "null, a text or a list of texts";
  std::vector<std::string> names;
  if (!value.is_array()) return wrong_value(path, key, value, kExpected);
  for (const OrderedJson& name : value) {
    if (!name.is_string()) return wrong_value(path, key, value, kExpected);
    names.push_back(name.get<std::string>());
  }
  return names;
}

Result<PeftModuleChoice> read_choice(const OrderedJson& object, const char* key, const std::string& path) {
  PeftModuleChoice choice;
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return choice;
  if (found->is_string()) {
    choice.pattern = found->get<std::string>();
  } else {
    PETS_ASSIGN_OR_RETURN(choice.names, read_names(*found, key, path));
  }
  return choice;
}

Result<std::vector<uint64_t>> read_layers(const OrderedJson& object, const std::string& path) {
  constexpr const char* kKey = "layers_to_transform";
  const auto found = object.find(kKey);
  std::vector<uint64_t> layers;
  if (found == object.end() || found->is_null()) return layers;
  const auto add = [&](const OrderedJson& value) {
    const bool valid = value.is_number_integer() && value >= 0;
    if (valid) layers.push_back(value.get<uint64_t>());
    return valid;
  };
  const bool good = found->is_array() ? std::all_of(found->begin(), found->end(), add) : add(*found);
  if (!good) return wrong_value(path, kKey, *found, "null, a layer's number or a list of them");
  return layers;
}

std::optional<bool> chosen(const PeftModuleChoice& choice, const std::string& module) {
  if (choice.pattern) return matches_whole(*choice.pattern, module);
  return std::any_of(choice.names.begin(), choice.names.end(),
                     [&](const std::string& name) { return module == name || module.ends_with("." + name); });
}

std::vector<std::string> segments_of(const std::string& module) {
  std::vector<std::string> segments(1);
  for (const char c : module) {
    if (c == '.') {
      segments.emplace_back();
    } else {
      segments.back().push_back(c);
    }
  }
  return segments;
}

/// The first number in a module's name, behind a segment that is one of the patterns where there are any.
std::optional<uint64_t> layer_of(const std::string& module, const std::vector<std::string>& patterns) {
  const std::vector<std::string> segments = segments_of(module);
  for (size_t i = 1; i < segments.size(); ++i) {
    uint64_t number = 0;
    const char* const end = segments[i].data() + segments[i].size();
    if (segments[i].empty() || std::from_chars(segments[i].data(), end, number).ptr != end) continue;
    if (patterns.empty() || std::find(patterns.begin(), patterns.end(), segments[i - 1]) != patterns.end()) return number;
  }
  return std::nullopt;
}

bool is_all_linear(const std::string& pattern) {
  constexpr std::string_view kAllLinear = "all-linear";
  return std::equal(pattern.begin(), pattern.end(), kAllLinear.begin(), kAllLinear.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
}

bool is_plain(const std::string& pattern) {
  return std::all_of(pattern.begin(), pattern.end(),
                     [](char c) { return c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z'); });
}

}  // namespace

Result<PeftTargets> read_peft_targets(const OrderedJson& object, const std::string& path) {
  PeftTargets targets;
  PETS_ASSIGN_OR_RETURN(targets.targets, read_choice(object, "target_modules", path));
  PETS_ASSIGN_OR_RETURN(targets.excluded, read_choice(object, "exclude_modules", path));
  PETS_ASSIGN_OR_RETURN(targets.layers, read_layers(object, path));
  PETS_ASSIGN_OR_RETURN(const PeftModuleChoice patterns, read_choice(object, "layers_pattern", path));
  targets.layer_patterns = patterns.names;
  if (patterns.pattern && !patterns.pattern->empty()) targets.layer_patterns = {*patterns.pattern};
  return targets;
}

std::optional<bool> targets_module(const PeftTargets& targets, const std::string& module) {
  if (!targets.excluded.empty()) {
    const std::optional<bool> excluded = chosen(targets.excluded, module);
    if (!excluded || *excluded) return excluded ? std::optional(false) : std::nullopt;
  }
  if (targets.targets.empty()) return std::nullopt;
  if (targets.targets.pattern && is_all_linear(*targets.targets.pattern)) return std::nullopt;
  const std::optional<bool> found = chosen(targets.targets, module);
  if (!found || !*found || targets.layers.empty() || targets.targets.pattern) return found;
  // A module that is named whole is adapted in any layer.
  if (std::find(targets.targets.names.begin(), targets.targets.names.end(), module) != targets.targets.names.end()) return true;
  if (!std::all_of(targets.layer_patterns.begin(), targets.layer_patterns.end(), is_plain)) return std::nullopt;
  const std::optional<uint64_t> layer = layer_of(module, targets.layer_patterns);
  return layer && std::find(targets.layers.begin(), targets.layers.end(), *layer) != targets.layers.end();
}

}  // namespace pets::converter
