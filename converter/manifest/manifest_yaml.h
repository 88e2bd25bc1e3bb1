// One mapping of a YAML document: its keys checked against those that may be there, its values against the types they must have.
// yaml-cpp throws; whoever calls these catches once, around everything.
#pragma once

#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pets/status.h"

namespace pets::converter {

/// What all mappings of one file share.
struct YamlFile {
  std::string path;
  /// Nodes that may still be visited. Aliases make a small file denote an enormous document; this bounds the work whatever it says.
  uint64_t budget = 1'000'000;

  /// "path:line: message". `line` counts from 0, as YAML::Mark does; a negative one is left out.
  Status error(int line, const std::string& message) const;
  Status spend(const YAML::Node& node);
};

class YamlMapping {
 public:
  /// Refuses a node that is no mapping, keys that are not in `keys`, and keys that come twice. `what` names the mapping in messages.
  static Result<YamlMapping> open(YamlFile* file, const YAML::Node& node, const std::string& what,
                                  const std::vector<std::string_view>& keys);

  bool has(std::string_view key) const { return find(key) != nullptr; }
  /// Counted from 0; of the key itself, or of the mapping where there is no such key.
  int line(std::string_view key) const;
  /// The value of a key that is there.
  const YAML::Node& node(std::string_view key) const { return *find(key); }

  /// Each leaves `value` alone where there is no such key.
  Status read(std::string_view key, std::string* value) const;
  Status read(std::string_view key, bool* value) const;
  Status read(std::string_view key, uint32_t minimum, uint32_t maximum, uint32_t* value) const;
  Status read(std::string_view key, std::vector<std::string>* value) const;

  /// "path:line: <what>.<key>: message"
  Status error(std::string_view key, const std::string& message) const;

 private:
  struct Entry {
    std::string key;
    int line = 0;
    YAML::Node value;
  };
  const YAML::Node* find(std::string_view key) const;
  Status text(std::string_view place, const YAML::Node& node, std::string* value) const;

  YamlFile* file_ = nullptr;
  std::string what_;
  int line_ = 0;
  std::vector<Entry> entries_;
};

/// "a mapping", "a list", "'text'", "nothing": what a message says was found.
std::string describe_node(const YAML::Node& node);

}  // namespace pets::converter
