// Which modules a peft configuration adapts: peft loads no tensor of another module, so a file that holds one says two things.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "converter/files/json_reader.h"
#include "pets/status.h"

namespace pets::converter {

/// `target_modules` or `exclude_modules`: one regular expression, or names that a module's name equals or ends in.
struct PeftModuleChoice {
  std::optional<std::string> pattern;
  std::vector<std::string> names;
  bool empty() const { return !pattern && names.empty(); }
};

struct PeftTargets {
  PeftModuleChoice targets, excluded;
  std::vector<uint64_t> layers;             // layers_to_transform; empty: any
  std::vector<std::string> layer_patterns;  // layers_pattern
};

/// Reads target_modules, exclude_modules, layers_to_transform and layers_pattern. `path` serves for messages.
Result<PeftTargets> read_peft_targets(const OrderedJson& object, const std::string& path);

/// peft's check_target_module_exists, for a module's full name. Nothing where the configuration does not tell: no target_modules,
/// "all-linear", or a regular expression of Python that this reader cannot match.
std::optional<bool> targets_module(const PeftTargets& targets, const std::string& module);

}  // namespace pets::converter
