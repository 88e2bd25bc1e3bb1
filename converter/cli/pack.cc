#include "converter/cli/pack.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "converter/bundle/bundle_base.h"
#include "converter/check/drift.h"
#include "converter/check/drift_report.h"
#include "converter/check/golden_queries.h"
#include "converter/check/model_runner.h"
#include "converter/manifest/task_loader.h"
#include "converter/readers.h"
#include "runtime/bundle/bundle_file.h"
#include "runtime/cuda/limits.h"
#include "runtime/platform/check.h"
#include "schema/bundle_format.h"

namespace pets::converter {
namespace {

/// What `pack` and `add` share: tasks to segments, answers to golden queries, the file.
class Packer {
 public:
  /// `precision`: of the base that will answer the golden queries.
  Packer(const Manifest& manifest, const BaseModel& base, Precision precision, std::string output, Console& console)
      : manifest_(manifest), base_(base), precision_(precision), output_(std::move(output)), console_(console) {}

  /// Reads the tasks and makes their segments, as yet without goldens.
  bool load(const TaskLoading& loading) {
    tasks_ = load_tasks(manifest_, base_, loading, console_);
    return console_.errors() == 0 && make_segments({});
  }

  /// `base` null: a delta bundle.
  Result<TemporaryFile> stage(const SegmentImage* base) const { return stage_bundle(output_, base, segments_, base_.fingerprint); }

  /// Lets `runner` answer the golden queries and makes the segments again, with the answers.
  bool answer_goldens(ModelRunner& runner) {
    std::vector<std::vector<Golden>> goldens;
    for (const PetTask& task : tasks_) {
      goldens.push_back(golden_queries(task.head.type, base_.has_tokenizer, base_.vocabulary, task.max_length));
      if (const Status answered = runner.answer(task.name, goldens.back()); !answered) fail(task.name, answered);
      console_.progress("answering golden queries of tasks", goldens.size(), tasks_.size());
    }
    console_.clear();
    return console_.errors() == 0 && make_segments(goldens);
  }

  /// Writes the file, reads it back as a device would, and puts it in place.
  Status finish(const SegmentImage* base) const {
    PETS_ASSIGN_OR_RETURN(TemporaryFile file, stage(base));
    PETS_RETURN_IF_ERROR(read_back(file.path(), base != nullptr));
    return file.commit();
  }

  size_t task_count() const { return tasks_.size(); }

 private:
  void fail(const std::string& task, const Status& status) { console_.error(task_message(manifest_, task, status.message())); }

  bool make_segments(const std::vector<std::vector<Golden>>& goldens) {
    segments_.clear();
    for (size_t i = 0; i < tasks_.size(); ++i) {
      Result<SegmentImage> segment = make_task_segment(base_, tasks_[i], goldens.empty() ? std::vector<Golden>() : goldens[i], precision_);
      if (segment) {
        segments_.push_back(std::move(segment).value());
      } else {
        fail(tasks_[i].name, segment.status());
      }
    }
    return console_.errors() == 0;
  }

  Status read_back(const std::string& path, bool has_base) const {
    const bundle::Dimensions dimensions = {base_.hidden,     base_.layers,    base_.heads,       base_.intermediate,
                                           base_.vocabulary, base_.positions, base_.token_types, base_.pooler.has_value()};
    PETS_ASSIGN_OR_RETURN(const auto file,
                          bundle::BundleFile::open(path.c_str(), false, bundle::Verification::kFull, has_base ? nullptr : &dimensions));
    for (const bundle::TaskSegment& task : file->tasks()) PETS_RETURN_IF_ERROR(task.status);
    return {};
  }

  const Manifest& manifest_;
  const BaseModel& base_;
  Precision precision_;
  std::string output_;
  Console& console_;
  std::vector<PetTask> tasks_;
  std::vector<SegmentImage> segments_;
};

std::string size_text(const std::string& path) {
  const Result<uint64_t> size = platform::file_size(path.c_str());
  if (!size) return "unknown size";
  return *size < 1'000'000 ? fmt::format("{:.1f} kB", static_cast<double>(*size) / 1e3)
                           : fmt::format("{:.1f} MB", static_cast<double>(*size) / 1e6);
}

bool is_bundle(const std::filesystem::path& path) {
  char magic[sizeof schema::kMagic] = {};
  std::ifstream(path, std::ios::binary).read(magic, sizeof magic);
  return std::memcmp(magic, schema::kMagic, sizeof magic) == 0;
}

/// Refuses to replace a file that is read: a slip of the pen in -o would destroy a manifest, weights or the base of a delta. An older
/// bundle may lie among a model's files and be replaced.
Status check_output(const std::string& output, const Manifest& manifest, const std::string& bundle, const std::string& calibration) {
  const auto refuse = [&output](const std::string& what) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: the output would replace %s", output.c_str(), what.c_str());
  };
  std::error_code error;
  if (!std::filesystem::is_regular_file(output, error)) return {};  // nothing there, or refused later
  if (std::filesystem::equivalent(output, manifest.path, error)) return refuse("the manifest");
  if (!bundle.empty() && std::filesystem::equivalent(output, bundle, error)) return refuse("the bundle whose base the tasks are for");
  if (!calibration.empty() && std::filesystem::equivalent(output, calibration, error)) return refuse("the calibration texts");
  if (is_bundle(output)) return {};
  std::vector<std::string> directories = {manifest.base.path};
  for (const TaskEntry& task : manifest.tasks) directories.push_back(task.source.path);
  for (const std::string& directory : directories) {
    for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
      std::error_code ignored;
      if (std::filesystem::equivalent(output, entry->path(), ignored)) return refuse("a file of " + directory);
    }
  }
  return {};
}

/// Reports what reduced precision changes, task by task; an error where a task drifts too far.
Status check_drift(const PackOptions& options, const BaseModel& base, Precision precision, const Packer& packer, ModelRunner& reduced,
                   Console& console) {
  std::vector<std::string> calibration;
  if (!options.calibration.empty()) {
    PETS_ASSIGN_OR_RETURN(calibration, read_calibration(options.calibration));
    if (!base.has_tokenizer) console.note("the base has no tokenizer: the calibration texts are left out");
  }
  PETS_ASSIGN_OR_RETURN(const SegmentImage exact, make_base_segment(base, Precision::kFloat32));
  PETS_ASSIGN_OR_RETURN(const TemporaryFile file, packer.stage(&exact));
  PETS_ASSIGN_OR_RETURN(ModelRunner reference, ModelRunner::open(file.path()));
  PETS_ASSIGN_OR_RETURN(auto drifts, measure_drift(reference, reduced, calibration, base.vocabulary, console));
  if (drifts.empty()) return {};
  sort_by_drift(drifts);
  console.note(fmt::format("what {} changes beside fp32, on the golden queries and {} calibration texts, most first:",
                           precision_name(precision), calibration.size()));
  for (const std::string& line : drift_table(drifts)) console.note(line);
  const TaskDrift& worst = drifts.front();
  if (worst.relative() <= options.max_drift) return {};
  const auto over = std::count_if(drifts.begin(), drifts.end(), [&](const TaskDrift& d) { return d.relative() > options.max_drift; });
  return Status::error(ErrorCode::kInvalidArgument,
                       "task '%s' drifts by %.3g of its largest logit in %s, more than --max-drift %.3g; %zu of %zu tasks do",
                       worst.task.c_str(), worst.relative(), std::string(precision_name(precision)).c_str(), options.max_drift,
                       static_cast<size_t>(over), drifts.size());
}

Status pack_tasks(const PackOptions& options, const BaseModel& base, Precision precision, Packer& packer, Console& console) {
  PETS_ASSIGN_OR_RETURN(const SegmentImage segment, make_base_segment(base, precision, options.target));
  {
    PETS_ASSIGN_OR_RETURN(const TemporaryFile file, packer.stage(&segment));
    PETS_ASSIGN_OR_RETURN(ModelRunner runner, ModelRunner::open(file.path()));
    if (precision != Precision::kFloat32) PETS_RETURN_IF_ERROR(check_drift(options, base, precision, packer, runner, console));
    if (!packer.answer_goldens(runner)) return {};  // reported already
  }
  return packer.finish(&segment);
}

/// The base that the tasks of `add` are read against.
Result<BaseModel> base_for_tasks(const bundle::BundleFile& file, const Manifest& manifest) {
  if (manifest.base.path.empty()) return base_of_bundle(file);
  PETS_ASSIGN_OR_RETURN(BaseModel base, read_base(manifest.base.path));
  if (base.fingerprint != file.base_fingerprint()) {
    return Status::error(ErrorCode::kMismatch, "%s: base '%s' has fingerprint %s, the base of %s has %s", manifest.path.c_str(),
                         manifest.base.path.c_str(), base.fingerprint.c_str(), file.path().c_str(), file.base_fingerprint().c_str());
  }
  return base;
}

Status add_tasks(const AddOptions& options, Packer& packer) {
  {
    PETS_ASSIGN_OR_RETURN(const TemporaryFile file, packer.stage(nullptr));
    PETS_ASSIGN_OR_RETURN(ModelRunner runner, ModelRunner::open(options.bundle, {file.path()}));
    if (!packer.answer_goldens(runner)) return {};
  }
  return packer.finish(nullptr);
}

/// Reports how it ended.
bool conclude(const Status& status, const std::string& output, const Packer& packer, Console& console) {
  if (!status) console.error(status.message());
  if (console.errors() != 0) return false;
  console.note(
      fmt::format("wrote {}: {}, {} {}", output, size_text(output), packer.task_count(), packer.task_count() == 1 ? "task" : "tasks"));
  return true;
}

}  // namespace

bool pack(const PackOptions& options, Console& console) {
  const Result<Manifest> manifest = read_manifest(options.manifest);
  if (!manifest) {
    console.error(manifest.status().message());
    return false;
  }
  if (manifest->base.path.empty()) {
    console.error(manifest->path + ": base.path is missing: a bundle needs a base");
    return false;
  }
  if (const Status allowed = check_output(options.output, *manifest, "", options.calibration); !allowed) {
    console.error(allowed.message());
    return false;
  }
  console.progress("reading the base", 0, 1);
  const Result<BaseModel> base = read_base(manifest->base.path);
  if (!base) {
    console.error(fmt::format("{}: base: {}", manifest->path, base.status().message()));
    return false;
  }
  if (options.target == Target::kCuda) {
    if (const Status taken = cuda::check_sizes(base->hidden, base->heads, base->intermediate); !taken) {
      console.error(fmt::format("{}: base: --target cuda: {}", manifest->path, taken.message()));
      return false;
    }
  }
  const Precision precision = options.precision.value_or(manifest->base.precision);
  Packer packer(*manifest, *base, precision, options.output, console);
  if (!packer.load({})) return false;
  if (precision == Precision::kFloat32 && !options.calibration.empty()) {
    console.note("precision is fp32: there is no drift to measure, --calibration is left out");
  }
  return conclude(pack_tasks(options, *base, precision, packer, console), options.output, packer, console);
}

bool add(const AddOptions& options, Console& console) {
  const Result<Manifest> manifest = read_manifest(options.manifest);
  if (!manifest) {
    console.error(manifest.status().message());
    return false;
  }
  auto file = bundle::BundleFile::open(options.bundle.c_str(), false);
  if (file && !(*file)->has_base()) {
    file = Status::error(ErrorCode::kInvalidArgument, "%s: a delta bundle has no base to add tasks to", options.bundle.c_str());
  }
  const Result<BaseModel> base = file ? base_for_tasks(**file, *manifest) : Result<BaseModel>(file.status());
  if (!base) {
    console.error(base.status().message());
    return false;
  }
  if (const Status allowed = check_output(options.output, *manifest, options.bundle, ""); !allowed) {
    console.error(allowed.message());
    return false;
  }
  Packer packer(*manifest, *base, precision_of_bundle(**file), options.output, console);
  if (!packer.load({.has_base_directory = !manifest->base.path.empty()})) return false;
  return conclude(add_tasks(options, packer), options.output, packer, console);
}

}  // namespace pets::converter
