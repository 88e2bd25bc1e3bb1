#include "converter/manifest/manifest_yaml.h"

#include <algorithm>
#include <charconv>

#include "converter/files/message_text.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

std::string join(const std::vector<std::string_view>& names) {
  std::string result;
  for (const std::string_view name : names) {
    if (!result.empty()) result += ", ";
    result += name;
  }
  return result;
}

/// yaml-cpp's tag of a scalar without quotes and without a tag of its own.
bool is_plain(const YAML::Node& node) { return node.Tag() == "?"; }

/// What stands where a number, true or false was expected.
std::string describe_value(const YAML::Node& node) {
  return node.IsScalar() && !is_plain(node) ? "the text " + describe_node(node) + " in quotes" : describe_node(node);
}

/// A tag that someone wrote ("!!binary", "!python/object") asks for a meaning that nothing here gives it.
bool has_foreign_tag(const YAML::Node& node) {
  const std::string& tag = node.Tag();
  return !tag.empty() && tag != "?" && tag != "!";
}

}  // namespace

std::string describe_node(const YAML::Node& node) {
  if (!node.IsDefined() || node.IsNull()) return "nothing";
  if (node.IsMap()) return "a mapping";
  if (node.IsSequence()) return "a list";
  return in_quotes(node.Scalar());
}

Status YamlFile::error(int line, const std::string& message) const {
  if (line < 0) return Status::error(ErrorCode::kInvalidArgument, "%s: %s", path.c_str(), message.c_str());
  return Status::error(ErrorCode::kInvalidArgument, "%s:%d: %s", path.c_str(), line + 1, message.c_str());
}

Status YamlFile::spend(const YAML::Node& node) {
  if (budget == 0) return error(node.Mark().line, "the manifest denotes too much: its aliases expand to over 1,000,000 values");
  --budget;
  if (has_foreign_tag(node)) return error(node.Mark().line, "the YAML tag " + in_quotes(node.Tag()) + " is not supported");
  return {};
}

Result<YamlMapping> YamlMapping::open(YamlFile* file, const YAML::Node& node, const std::string& what,
                                      const std::vector<std::string_view>& keys) {
  PETS_RETURN_IF_ERROR(file->spend(node));
  if (!node.IsMap()) return file->error(node.Mark().line, what + ": expected a mapping, found " + describe_node(node));
  YamlMapping mapping;
  mapping.file_ = file;
  mapping.what_ = what;
  mapping.line_ = node.Mark().line;
  for (const auto& pair : node) {
    const int line = pair.first.Mark().line;
    PETS_RETURN_IF_ERROR(file->spend(pair.first));
    const bool known = pair.first.IsScalar() && std::find(keys.begin(), keys.end(), pair.first.Scalar()) != keys.end();
    if (!known) {
      return file->error(line, what + ": unknown key " + describe_node(pair.first) + "; expected one of " + join(keys));
    }
    for (const Entry& entry : mapping.entries_) {
      if (entry.key != pair.first.Scalar()) continue;
      return file->error(line,
                         what + ": the key " + in_quotes(entry.key) + " is there twice, first in line " + std::to_string(entry.line + 1));
    }
    mapping.entries_.push_back({pair.first.Scalar(), line, pair.second});
  }
  return mapping;
}

const YAML::Node* YamlMapping::find(std::string_view key) const {
  for (const Entry& entry : entries_) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

int YamlMapping::line(std::string_view key) const {
  for (const Entry& entry : entries_) {
    if (entry.key == key) return entry.line;
  }
  return line_;
}

Status YamlMapping::error(std::string_view key, const std::string& message) const {
  const std::string place = what_ == "manifest" ? std::string(key) : what_ + "." + std::string(key);
  return file_->error(line(key), place + ": " + message);
}

Status YamlMapping::text(std::string_view place, const YAML::Node& node, std::string* value) const {
  PETS_RETURN_IF_ERROR(file_->spend(node));
  // `labels: [no, yes]` and `[0, 1]` mean what they say, whatever type YAML would give a plain scalar; only null is no text.
  if (!node.IsScalar()) {
    return error(place, "expected a text, found " + describe_node(node) + (node.IsNull() ? " (null and ~ need quotes)" : ""));
  }
  *value = node.Scalar();
  return {};
}

Status YamlMapping::read(std::string_view key, std::string* value) const {
  const YAML::Node* node = find(key);
  return node == nullptr ? Status() : text(key, *node, value);
}

Status YamlMapping::read(std::string_view key, bool* value) const {
  const YAML::Node* node = find(key);
  if (node == nullptr) return {};
  PETS_RETURN_IF_ERROR(file_->spend(*node));
  const bool is_true = node->IsScalar() && node->Scalar() == "true";
  if (!node->IsScalar() || !is_plain(*node) || (!is_true && node->Scalar() != "false")) {
    return error(key, "expected true or false, found " + describe_value(*node));
  }
  *value = is_true;
  return {};
}

Status YamlMapping::read(std::string_view key, uint32_t minimum, uint32_t maximum, uint32_t* value) const {
  const YAML::Node* node = find(key);
  if (node == nullptr) return {};
  PETS_RETURN_IF_ERROR(file_->spend(*node));
  uint32_t number = 0;
  bool valid = node->IsScalar() && is_plain(*node);
  if (valid) {
    const std::string& digits = node->Scalar();
    const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    valid = failure == std::errc() && end == digits.data() + digits.size() && number >= minimum && number <= maximum;
  }
  if (!valid) {
    return error(key, "expected a whole number from " + std::to_string(minimum) + " to " + std::to_string(maximum) + ", found " +
                          describe_value(*node));
  }
  *value = number;
  return {};
}

Status YamlMapping::read(std::string_view key, std::vector<std::string>* value) const {
  const YAML::Node* node = find(key);
  if (node == nullptr) return {};
  PETS_RETURN_IF_ERROR(file_->spend(*node));
  if (!node->IsSequence()) return error(key, "expected a list of texts, found " + describe_node(*node));
  for (const YAML::Node& item : *node) PETS_RETURN_IF_ERROR(text(key, item, &value->emplace_back()));
  return {};
}

}  // namespace pets::converter
