// The planner: the code that lays out memory, run in counting mode over a bundle's metadata.
#include "runtime/engine/plan.h"

#include <memory>
#include <new>
#include <vector>

#include "runtime/engine/model_impl.h"
#include "runtime/engine/session_memory.h"
#include "runtime/platform/check.h"

namespace pets {
namespace {

void include_limits(const bundle::BundleFile& file, uint32_t hidden, engine::TaskLimits& limits) {
  for (const bundle::TaskSegment& segment : file.tasks()) {
    if (segment.task != nullptr) limits.include(engine::limits_of(*segment.task, hidden));
  }
}

/// A file's base and tasks resolved, as a device's layout wants to see them.
struct ResolvedFile {
  memory::Block tables;
  engine::BaseWeights base;
  std::vector<engine::TaskWeights> tasks;
};

/// For a device. `base` null: the file's own.
Result<ResolvedFile> resolve(const bundle::BundleFile& file, const engine::BaseWeights* base) {
  ResolvedFile resolved;
  PETS_ASSIGN_OR_RETURN(resolved.tables, memory::Block::allocate(engine::count_tables(file, base, Backend::kCuda)));
  memory::Arena arena(resolved.tables.data(), resolved.tables.size());
  if (base == nullptr) resolved.base = engine::resolve_base(file.base(), arena, Backend::kCuda);
  for (const bundle::TaskSegment& segment : file.tasks()) {
    if (segment.task != nullptr) resolved.tasks.push_back(engine::resolve_task(segment, base == nullptr ? resolved.base : *base, arena));
  }
  return resolved;
}

}  // namespace

Result<engine::SessionPlan> engine::plan_session(const char* path, const ModelOptions& model, const SessionOptions& options,
                                                 const std::vector<std::string>& delta_paths) {
  PETS_ASSIGN_OR_RETURN(const uint32_t threads, engine::check_session_options(options));
  PETS_ASSIGN_OR_RETURN(const auto file, bundle::BundleFile::open(path, false, bundle::Verification::kStructure));
  if (!file->has_base()) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: a delta bundle holds tasks only; plan the bundle with its base", path);
  }
  SessionPlan result;
  Plan& plan = result.plan;
  plan.mapped_bytes = file->bytes().size();
  plan.model_bytes = engine::count_tables(*file, nullptr, model.backend);
  memory::Arena counting;
  const engine::BaseWeights base = engine::resolve_base(file->base(), counting, model.backend);
  engine::TaskLimits limits;
  include_limits(*file, base.hidden, limits);
  ResolvedFile resolved;  // for a device
  std::unique_ptr<const engine::DeviceLayout> device;
  engine::DeviceTasks device_tasks;
  const auto include_device_tasks = [&](const ResolvedFile& of) {
    for (const engine::TaskWeights& task : of.tasks) device_tasks.include(device->task_bytes(task), task);
  };
  if (model.backend == Backend::kCuda) {
    PETS_ASSIGN_OR_RETURN(resolved, resolve(*file, nullptr));
    PETS_ASSIGN_OR_RETURN(device, engine::plan_cuda(resolved.base, model.weight_memory));
    include_device_tasks(resolved);
  }
  for (const std::string& delta_path : delta_paths) {
    PETS_ASSIGN_OR_RETURN(const auto delta,
                          bundle::BundleFile::open(delta_path.c_str(), false, bundle::Verification::kStructure, &file->dimensions()));
    plan.mapped_bytes += delta->bytes().size();
    plan.model_bytes += engine::count_tables(*delta, &base);
    include_limits(*delta, base.hidden, limits);
    if (device == nullptr) continue;
    PETS_ASSIGN_OR_RETURN(const ResolvedFile added, resolve(*delta, &resolved.base));
    include_device_tasks(added);
  }
  result.positions = base.positions;
  if (const schema::WordPiece* tables = file->base().base->tokenizer()) {
    auto tokenizer = tokenizer::WordPieceTokenizer::create(*tables, file->base().bytes, base.vocabulary);
    if (!tokenizer) return Status::error(tokenizer.status().code(), "%s: tokenizer: %s", path, tokenizer.status().c_str());
    result.tokenizer_scratch = tokenizer->scratch_bytes();
  }
  memory::Arena arena;
  result.capacity = engine::plan_capacity(base, limits, options, threads);
  if (device != nullptr) engine::plan_device_capacity(base, device_tasks, options, result.capacity);
  engine::SessionMemory().lay_out(arena, base, result.capacity, result.tokenizer_scratch);
  plan.arena_bytes = arena.used();
  if (device != nullptr) {
    result.device_base_bytes = device->base_bytes();
    plan.device_bytes = result.device_base_bytes + device->session_bytes(result.capacity);
  }
  plan.total_bytes = plan.mapped_bytes + plan.model_bytes + plan.arena_bytes + plan.device_bytes;
  return result;
}

Result<Plan> plan(const char* path, const ModelOptions& model, const SessionOptions& session,
                  const std::vector<std::string>& delta_paths) noexcept {
  try {
    PETS_ASSIGN_OR_RETURN(const engine::SessionPlan planned, engine::plan_session(path, model, session, delta_paths));
    return planned.plan;
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "%s: out of memory", path);
  }
}

}  // namespace pets
