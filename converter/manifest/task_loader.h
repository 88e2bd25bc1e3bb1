// Reads all tasks of a manifest, whatever their format, and reports everything that is wrong with any of them.
#pragma once

#include <vector>

#include "converter/cli/console.h"
#include "converter/manifest/manifest.h"
#include "converter/model/base_model.h"
#include "converter/model/operators.h"

namespace pets::converter {

/// What formats may need beyond the base's shapes.
struct TaskLoading {
  bool has_base_directory = true;  ///< false: the base was unpacked from a bundle; `checkpoint` tasks are refused
};

/// Every task, read and checked, in the manifest's order. Each one that fails is an error on the console (manifest, task, reason); the
/// result then lacks it.
std::vector<PetTask> load_tasks(const Manifest& manifest, const BaseModel& base, const TaskLoading& loading, Console& console);

/// "<manifest>: task '<name>': <reason>"
std::string task_message(const Manifest& manifest, const std::string& task, std::string_view reason);

}  // namespace pets::converter
