// The manifest: the YAML file that says which base and which tasks go into a bundle.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "converter/bundle/precision.h"
#include "converter/model/names.h"
#include "converter/readers.h"
#include "pets/status.h"

namespace pets::converter {

struct BaseEntry {
  std::string path;  // directory, resolved against the manifest's folder; empty: none given
  Precision precision = Precision::kFloat32;
  int line = 0;  // of the `base` key; 0: no such key
};

enum class PetFormat { kAuto, kPeft, kAdapterHub, kCheckpoint, kOperators, kNone };

/// "auto", "peft", ... as the manifest writes them.
std::string_view pet_format_name(PetFormat format);

struct TaskEntry {
  std::string name;  // UTF-8, 1 to 256 bytes, no control characters, unique in the manifest
  PetSource source;  // `path` resolved against the manifest's folder; empty for `none` without a path
  PetFormat format = PetFormat::kAuto;
  uint32_t max_length = 0;  // tokens, special ones included; 0: the default
  int line = 0;             // where the task starts in the manifest, counted from 1
};

struct Manifest {
  std::string path;       // as given
  std::string directory;  // its folder: relative paths were resolved against it
  BaseEntry base;
  std::vector<TaskEntry> tasks;
};

/// Reads and checks a manifest. `base` may be absent (a delta bundle takes it from the base bundle), and so may `tasks` (a base alone).
/// The message of an error names file, line, key, what was expected and what was found. Does not look at what the manifest names.
Result<Manifest> read_manifest(const std::string& path);
/// The same over text in memory; `path` gives the folder and serves for messages.
Result<Manifest> parse_manifest(std::string_view text, const std::string& path);

}  // namespace pets::converter
