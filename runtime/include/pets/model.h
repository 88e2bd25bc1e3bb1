// A loaded bundle: one shared encoder and its tasks.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "pets/types.h"

namespace pets {

class Session;

/// Bytes that `Model::load(path, model)` and one `Session::create(session)` will use, exactly, without loading weights: the same code
/// in counting mode. `delta_paths` are delta bundles that will be added.
Result<Plan> plan(const char* path, const ModelOptions& model = {}, const SessionOptions& session = {},
                  const std::vector<std::string>& delta_paths = {}) noexcept;

/// Immutable weights, shared by sessions; a set of tasks that may change while sessions run. All members are thread-safe.
class Model {
 public:
  /// Maps and validates a bundle that holds a base. A damaged file is refused; a damaged task is quarantined (see `quarantined`) while
  /// the others serve. Errors name the file, the thing, what was expected and what was found.
  static Result<std::shared_ptr<Model>> load(const char* path, const ModelOptions& options = {}) noexcept;
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  /// Adds every task of a delta bundle (or of another full bundle of the same base), all or none: a task of another base, a damaged one
  /// or a name that is taken refuses the file. With `replace`, tasks of the same name are replaced. Sessions see the old set until their
  /// next batch, then the whole new one. With `quarantine`, a damaged task is left out (see `quarantined`) and the others are added.
  Status add_tasks(const char* path, bool replace = false, bool quarantine = false) noexcept;
  /// Removes a task; batches that run finish with it. The memory of a file goes when its last task goes.
  Status remove_task(std::string_view name) noexcept;

  /// A snapshot of the tasks in file order.
  std::vector<std::shared_ptr<const TaskInfo>> tasks() const;
  /// The named task, or null.
  std::shared_ptr<const TaskInfo> find_task(std::string_view name) const;

  struct Quarantined {
    std::string name;
    Status status;
  };
  /// Tasks of loaded files that failed validation, with the reasons.
  std::vector<Quarantined> quarantined() const;

  /// Bytes in use now: mapped files, tables; the sessions' arenas are in their own plans.
  Plan memory() const noexcept;
  /// "avx512", ...: the instruction set in use.
  std::string_view isa() const noexcept;
  /// The device that the encoder runs on; empty with Backend::kCpu.
  std::string_view device() const noexcept;
  /// Where that device reads the base's weights: never kAuto; with Backend::kCpu kAuto.
  WeightMemory weight_memory() const noexcept;
  /// Why none of the steps before `weight_memory` was taken: one line; empty where it was asked for or is the first.
  std::string_view weight_memory_reason() const noexcept;
  /// 32 hexadecimal digits.
  std::string_view fingerprint() const noexcept;
  bool has_tokenizer() const noexcept;

  struct SelfCheck {
    std::string task;
    uint32_t queries = 0;
    float largest_error = 0;       ///< largest |logit - golden| divided by the task's largest |golden logit| (floor 1e-6)
    bool other_precision = false;  ///< the goldens were answered by this base stored in another precision
    Status status;                 ///< an error where it is over the tolerance, or where a query failed
  };
  /// Re-runs the goldens that each task carries (made at packing by this engine): is this build right on this device? Goldens of a base in
  /// another precision (a delta bundle beside a repacked base) differ by what the precisions do: 0.02 for fp16, 0.05 for bf16 and 0.3 for
  /// int8 is allowed there, and for bf16 and int8 in the same precision, too, whose roundings fall differently on another instruction set.
  Result<std::vector<SelfCheck>> self_check(Session& session, float tolerance = 1e-4F) const;

  class Impl;
  Impl& impl() const noexcept { return *impl_; }

 private:
  explicit Model(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pets
