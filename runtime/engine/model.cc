#include "pets/model.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <new>
#include <unordered_set>

#include "runtime/engine/model_impl.h"
#include "runtime/engine/plan.h"
#include "runtime/platform/check.h"
#include "schema/site.h"

namespace pets {
namespace {

using engine::LoadedFile;
using engine::Task;
using engine::TaskSet;

TaskInfo describe(const bundle::TaskSegment& segment, const engine::TaskWeights& weights) {
  TaskInfo info;
  info.name = segment.name;
  info.head = static_cast<HeadType>(weights.head.type);
  if (const auto* labels = segment.task->head()->labels()) {
    for (const auto* label : *labels) info.labels.push_back(label->str());
  }
  info.outputs = weights.head.outputs;
  info.max_length = segment.task->max_length();
  info.bytes = segment.bytes.size();
  if (segment.task->source() != nullptr) info.source = segment.task->source()->str();
  return info;
}

/// Resolves the good tasks of a file. The first `resolve` of a file with a base fills `base` too.
Result<std::vector<std::shared_ptr<const Task>>> load_tasks(const std::shared_ptr<const bundle::BundleFile>& file,
                                                            engine::BaseWeights& base, bool own_base, Backend backend,
                                                            const std::shared_ptr<engine::MemoryCounters>& memory,
                                                            std::shared_ptr<const LoadedFile>* loaded_out) {
  const uint64_t bytes = engine::count_tables(*file, own_base ? nullptr : &base, backend);
  PETS_ASSIGN_OR_RETURN(memory::Block block, memory::Block::allocate(bytes));
  memory::Arena arena(block.data(), block.size());
  auto loaded = std::make_shared<const LoadedFile>(file, std::move(block), memory);
  if (own_base) base = engine::resolve_base(file->base(), arena, backend);
  std::vector<std::shared_ptr<const Task>> tasks;
  for (const bundle::TaskSegment& segment : file->tasks()) {
    if (segment.task == nullptr) continue;
    auto task = std::make_shared<Task>();
    task->weights = engine::resolve_task(segment, base, arena);
    task->limits = engine::limits_of(*segment.task, base.hidden);
    task->info = describe(segment, task->weights);
    task->source = segment.task;
    task->segment = segment.bytes;
    task->file = loaded;
    tasks.push_back(std::move(task));
  }
  if (loaded_out != nullptr) *loaded_out = loaded;
  return tasks;
}

Status check_memory(const char* path, uint64_t needed, uint64_t limit) {
  if (limit == 0 || needed <= limit) return Status::ok();
  return Status::error(ErrorCode::kResourceExhausted, "%s: needs %" PRIu64 " bytes, the memory limit is %" PRIu64, path, needed, limit);
}

Result<std::unique_ptr<Model::Impl>> load_impl(const char* path, const ModelOptions& options) {
  auto impl = std::make_unique<Model::Impl>();
  impl->options = options;
  PETS_ASSIGN_OR_RETURN(impl->kernels, engine::select_kernels());
  if (options.memory_limit != 0) {
    PETS_ASSIGN_OR_RETURN(const engine::SessionPlan needed, engine::plan_session(path, options, {}, {}));
    const uint64_t bytes = needed.plan.mapped_bytes + needed.plan.model_bytes + needed.device_base_bytes;
    PETS_RETURN_IF_ERROR(check_memory(path, bytes, options.memory_limit));
  }
  PETS_ASSIGN_OR_RETURN(const auto file, bundle::BundleFile::open(path, options.copy));
  if (!file->has_base()) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: a delta bundle holds tasks only; load the bundle with its base first", path);
  }
  impl->dimensions = file->dimensions();
  impl->fingerprint = file->base_fingerprint();
  PETS_ASSIGN_OR_RETURN(auto tasks, load_tasks(file, impl->base, true, options.backend, impl->memory, &impl->base_file));
  if (options.backend == Backend::kCuda) {
    PETS_ASSIGN_OR_RETURN(impl->device, engine::open_cuda(impl->base, options.weight_memory));
    // A registration that was planned may have been refused: then the base was copied.
    PETS_RETURN_IF_ERROR(check_memory(path, impl->used_bytes(), options.memory_limit));
  }
  if (const schema::WordPiece* tables = file->base().base->tokenizer()) {
    auto tokenizer = tokenizer::WordPieceTokenizer::create(*tables, file->base().bytes, impl->base.vocabulary);
    if (!tokenizer) return Status::error(tokenizer.status().code(), "%s: tokenizer: %s", path, tokenizer.status().c_str());
    impl->tokenizer = *tokenizer;
    impl->has_tokenizer = true;
  }
  for (const bundle::TaskSegment& segment : file->tasks()) {
    if (segment.task == nullptr) impl->quarantine.push_back({segment.name, segment.status});
  }
  PETS_RETURN_IF_ERROR(impl->tasks.update([&](const TaskSet&, TaskSet& next) {
    next.tasks = std::move(tasks);
    return Status::ok();
  }));
  return impl;
}

Status add_tasks_impl(Model::Impl& model, const char* path, bool replace, bool quarantine) {
  if (model.options.memory_limit != 0) {
    PETS_ASSIGN_OR_RETURN(const auto probe, bundle::BundleFile::open(path, false, bundle::Verification::kStructure, &model.dimensions));
    const uint64_t needed = probe->bytes().size() + engine::count_tables(*probe, &model.base);
    PETS_RETURN_IF_ERROR(check_memory(path, model.used_bytes() + needed, model.options.memory_limit));
  }
  PETS_ASSIGN_OR_RETURN(const auto file,
                        bundle::BundleFile::open(path, model.options.copy, bundle::Verification::kFull, &model.dimensions));
  if (file->base_fingerprint() != model.fingerprint) {
    return Status::error(ErrorCode::kMismatch, "%s: its tasks belong to base %s, the loaded base is %s", path,
                         file->base_fingerprint().c_str(), model.fingerprint.c_str());
  }
  std::vector<Model::Quarantined> damaged;
  for (const bundle::TaskSegment& segment : file->tasks()) {
    if (segment.task != nullptr) continue;
    if (!quarantine) return segment.status;
    damaged.push_back({segment.name, segment.status});
  }
  PETS_ASSIGN_OR_RETURN(auto added, load_tasks(file, model.base, false, model.options.backend, model.memory, nullptr));
  PETS_RETURN_IF_ERROR(model.tasks.update([&](const TaskSet& current, TaskSet& next) {
    std::unordered_set<std::string_view> names;
    for (const auto& task : added) names.insert(task->info.name);
    for (const auto& task : current.tasks) {
      if (names.count(task->info.name) == 0) {
        next.tasks.push_back(task);
      } else if (!replace) {
        return Status::error(ErrorCode::kInvalidArgument, "%s: task '%s' is already loaded", path, task->info.name.c_str());
      }
    }
    next.tasks.insert(next.tasks.end(), added.begin(), added.end());
    return Status::ok();
  }));
  const std::lock_guard<std::mutex> lock(model.quarantine_mutex);
  model.quarantine.insert(model.quarantine.end(), damaged.begin(), damaged.end());
  return Status::ok();
}

Status out_of_memory(const char* what) { return Status::error(ErrorCode::kResourceExhausted, "%s: out of memory", what); }

/// Names of instruction sets for a message, made without allocating.
struct IsaNames {
  char text[128] = "";
  explicit IsaNames(bool (*wanted)(kernels::Isa)) {
    for (kernels::Isa isa : kernels::kAllIsas) {
      if (!wanted(isa)) continue;
      const size_t used = std::strlen(text);
      std::snprintf(text + used, sizeof text - used, "%s%s", used == 0 ? "" : ", ", kernels::isa_name(isa).data());
    }
  }
};

}  // namespace

namespace engine {

Result<const kernels::KernelTable*> select_kernels() noexcept {
  const char* forced = std::getenv("PETS_ISA");
  if (forced == nullptr || *forced == '\0') return kernels::kernel_table(kernels::best_isa());
  const auto isa = kernels::parse_isa(forced);
  if (!isa)
    return Status::error(ErrorCode::kInvalidArgument, "PETS_ISA: expected one of %s, found '%s'",
                         IsaNames([](kernels::Isa) { return true; }).text, forced);
  const kernels::KernelTable* table = kernels::kernel_table(*isa);
  if (table == nullptr) {
    return Status::error(ErrorCode::kUnsupported, "PETS_ISA=%s: this CPU, or this build, does not have it; it has %s", forced,
                         IsaNames(kernels::isa_available).text);
  }
  return table;
}

uint64_t count_tables(const bundle::BundleFile& file, const BaseWeights* base, Backend backend) {
  memory::Arena arena;
  BaseWeights own;
  if (base == nullptr) {
    own = resolve_base(file.base(), arena, backend);
    base = &own;
  }
  for (const bundle::TaskSegment& segment : file.tasks()) {
    if (segment.task != nullptr) resolve_task(segment, *base, arena);
  }
  return arena.used();
}

}  // namespace engine

Model::Model(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Model::~Model() = default;

Result<std::shared_ptr<Model>> Model::load(const char* path, const ModelOptions& options) noexcept {
  try {
    PETS_ASSIGN_OR_RETURN(auto impl, load_impl(path, options));
    return std::shared_ptr<Model>(new Model(std::move(impl)));
  } catch (const std::bad_alloc&) {
    return out_of_memory(path);
  }
}

Status Model::add_tasks(const char* path, bool replace, bool quarantine) noexcept {
  try {
    return add_tasks_impl(*impl_, path, replace, quarantine);
  } catch (const std::bad_alloc&) {
    return out_of_memory(path);
  }
}

Status Model::remove_task(std::string_view name) noexcept {
  try {
    return impl_->tasks.update([&](const TaskSet& current, TaskSet& next) {
      for (const auto& task : current.tasks) {
        if (task->info.name != name) next.tasks.push_back(task);
      }
      if (next.tasks.size() == current.tasks.size()) {
        return Status::error(ErrorCode::kNotFound, "no task is named '%.*s'", static_cast<int>(std::min<size_t>(name.size(), 256)),
                             name.data());
      }
      return Status::ok();
    });
  } catch (const std::bad_alloc&) {
    return out_of_memory("remove_task");
  }
}

std::vector<std::shared_ptr<const TaskInfo>> Model::tasks() const {
  return impl_->tasks.view([](const TaskSet& set) {
    std::vector<std::shared_ptr<const TaskInfo>> infos;
    infos.reserve(set.tasks.size());
    for (const auto& task : set.tasks) infos.emplace_back(task, &task->info);
    return infos;
  });
}

std::shared_ptr<const TaskInfo> Model::find_task(std::string_view name) const {
  return impl_->tasks.view([&](const TaskSet& set) -> std::shared_ptr<const TaskInfo> {
    const std::optional<uint32_t> found = set.find(name);
    if (!found) return nullptr;
    const auto& task = set.tasks[*found];
    return {task, &task->info};
  });
}

std::vector<Model::Quarantined> Model::quarantined() const {
  const std::lock_guard<std::mutex> lock(impl_->quarantine_mutex);
  return impl_->quarantine;
}

Plan Model::memory() const noexcept {
  Plan plan;
  plan.mapped_bytes = impl_->memory->mapped;
  plan.model_bytes = impl_->memory->tables;
  plan.arena_bytes = impl_->session_bytes;
  plan.device_bytes = impl_->device_bytes();
  plan.total_bytes = plan.mapped_bytes + plan.model_bytes + plan.arena_bytes + plan.device_bytes;
  return plan;
}

std::string_view Model::device() const noexcept { return impl_->device == nullptr ? std::string_view() : impl_->device->device_name(); }
WeightMemory Model::weight_memory() const noexcept {
  return impl_->device == nullptr ? WeightMemory::kAuto : impl_->device->weight_memory();
}
std::string_view Model::weight_memory_reason() const noexcept {
  return impl_->device == nullptr ? std::string_view() : impl_->device->weight_memory_reason();
}
std::string_view Model::isa() const noexcept { return kernels::isa_name(impl_->kernels->isa); }
std::string_view Model::fingerprint() const noexcept { return impl_->fingerprint; }
bool Model::has_tokenizer() const noexcept { return impl_->has_tokenizer; }

namespace {

constexpr std::string_view kWeightMemoryNames[] = {"auto", "host-page-tables", "registered", "copy"};  // by WeightMemory

}  // namespace

std::string_view weight_memory_name(WeightMemory memory) noexcept {
  const auto index = static_cast<size_t>(memory);
  return index < std::size(kWeightMemoryNames) ? kWeightMemoryNames[index] : "unknown";
}

bool parse_weight_memory(std::string_view name, WeightMemory* memory) noexcept {
  for (size_t i = 0; i < std::size(kWeightMemoryNames); ++i) {
    if (kWeightMemoryNames[i] != name) continue;
    *memory = static_cast<WeightMemory>(i);
    return true;
  }
  return false;
}

std::string_view head_type_name(HeadType type) noexcept {
  switch (type) {
    case HeadType::kSequenceClassification:
      return "sequence-classification";
    case HeadType::kMultiLabelClassification:
      return "multi-label-classification";
    case HeadType::kRegression:
      return "regression";
    case HeadType::kTokenClassification:
      return "token-classification";
    case HeadType::kQuestionAnswering:
      return "question-answering";
    case HeadType::kEmbedding:
      return "embedding";
  }
  return "unknown";
}

}  // namespace pets
