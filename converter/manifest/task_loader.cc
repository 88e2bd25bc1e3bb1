#include "converter/manifest/task_loader.h"

#include <fmt/format.h>

#include "converter/bundle/bundle_writer.h"
#include "converter/model/check_task.h"
#include "converter/readers.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

Result<PetFormat> format_of(const TaskEntry& entry) {
  if (entry.format != PetFormat::kAuto) return entry.format;
  PETS_ASSIGN_OR_RETURN(const std::string found, detect_pet_format(entry.source.path));
  for (const PetFormat format : {PetFormat::kPeft, PetFormat::kAdapterHub, PetFormat::kCheckpoint, PetFormat::kOperators}) {
    if (pet_format_name(format) == found) return format;
  }
  return Status::error(ErrorCode::kInternal, "%s: unexpected format '%s'", entry.source.path.c_str(), found.c_str());
}

Result<PetTask> read_pet(const BaseModel& base, const Manifest& manifest, const TaskEntry& entry, const TaskLoading& loading) {
  PETS_ASSIGN_OR_RETURN(const PetFormat format, format_of(entry));
  if (entry.source.as_low_rank && format != PetFormat::kCheckpoint) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: `as: low-rank` applies to a checkpoint, this is a PET of format %s",
                         entry.source.path.c_str(), std::string(pet_format_name(format)).c_str());
  }
  switch (format) {
    case PetFormat::kPeft:
      return read_peft(base, entry.source);
    case PetFormat::kAdapterHub:
      return read_adapterhub(base, entry.source);
    case PetFormat::kCheckpoint:
      if (!loading.has_base_directory) {
        return Status::error(ErrorCode::kInvalidArgument,
                             "a checkpoint is compared with the base's own files: give the manifest a `base: {path: ...}`");
      }
      return read_checkpoint(base, entry.source);
    case PetFormat::kOperators:
      return read_operators(base, entry.source);
    case PetFormat::kNone:
    case PetFormat::kAuto:
      break;
  }
  PetSource source = entry.source;
  if (source.path.empty() && loading.has_base_directory)
    source.path = manifest.base.path;  // whose own classifier a task without a PET may keep
  return read_none(base, source);
}

Result<PetTask> load_task(const BaseModel& base, const Manifest& manifest, const TaskEntry& entry, const TaskLoading& loading) {
  if (entry.max_length > base.positions) {
    return Status::error(ErrorCode::kInvalidArgument, "max_length %u is more than the base's %u positions", entry.max_length,
                         base.positions);
  }
  PETS_ASSIGN_OR_RETURN(PetTask task, read_pet(base, manifest, entry, loading));
  task.name = entry.name;
  task.max_length = entry.max_length != 0 ? entry.max_length : default_max_length(base);
  PETS_RETURN_IF_ERROR(check_task(base, task));
  return task;
}

}  // namespace

std::string task_message(const Manifest& manifest, const std::string& task, std::string_view reason) {
  return fmt::format("{}: task '{}': {}", manifest.path, task, reason);
}

std::vector<PetTask> load_tasks(const Manifest& manifest, const BaseModel& base, const TaskLoading& loading, Console& console) {
  std::vector<PetTask> tasks;
  for (const TaskEntry& entry : manifest.tasks) {
    Result<PetTask> task = load_task(base, manifest, entry, loading);
    if (task) {
      if (entry.source.as_low_rank) console.note(fmt::format("task '{}': {}", utf8::printable(entry.name), task.value().source));
      tasks.push_back(std::move(task).value());
    } else {
      console.error(task_message(manifest, entry.name, task.status().message()));
    }
    console.progress("reading tasks", static_cast<size_t>(&entry - manifest.tasks.data()) + 1, manifest.tasks.size());
  }
  console.clear();
  return tasks;
}

}  // namespace pets::converter
