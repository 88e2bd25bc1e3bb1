#include "runtime/cuda/task_store.h"

#include <algorithm>
#include <bit>
#include <cinttypes>
#include <new>

#include "runtime/memory/arena.h"
#include "runtime/platform/check.h"

namespace pets::cuda {
namespace {

/// A task's entries in arrays of an arena.
TaskEntries lay_out_entries(memory::Arena& arena, uint32_t layers) {
  const size_t linears = size_t{layers} * engine::kLinearSites, norms = size_t{layers} * engine::kSublayers;
  TaskEntries entries;
  entries.linear = {arena.array<TaskLinear>(linears), linears};
  entries.norm = {arena.array<TaskNorm>(norms), norms};
  entries.bottleneck = {arena.array<TaskBottleneck>(norms), norms};
  entries.embeddings = arena.array<TaskEmbeddings>(1);
  entries.head = arena.array<TaskHead>(1);
  return entries;
}

}  // namespace

template <class T>
void TaskStore<T>::lay_out(memory::Arena& arena, const engine::BaseWeights& base, const TaskStoreCapacity& capacity, TaskStore* store) {
  TaskStore counted;
  if (store == nullptr) store = &counted;
  store->linears_ = arena.array<TaskLinear>(size_t{capacity.slots} * base.layers * engine::kLinearSites);
  store->norms_ = arena.array<TaskNorm>(size_t{capacity.slots} * base.layers * engine::kSublayers);
  store->bottlenecks_ = arena.array<TaskBottleneck>(size_t{capacity.slots} * base.layers * engine::kSublayers);
  store->embeddings_ = arena.array<TaskEmbeddings>(capacity.slots);
  store->heads_ = arena.array<TaskHead>(capacity.slots);
  store->values_ = arena.array<std::byte>(capacity.bytes);
}

template <class T>
Result<TaskStore<T>> TaskStore<T>::create(const engine::BaseWeights& base, const TaskStoreCapacity& capacity) noexcept {
  try {
    TaskStore store;
    store.base_ = &base;
    store.values_size_ = capacity.bytes;
    memory::Arena entries;
    lay_out_entries(entries, base.layers);
    store.image_bytes_ = capacity.largest_task;
    PETS_ASSIGN_OR_RETURN(store.staging_, HostMemory::allocate(capacity.largest_task + entries.used()));
    store.slots_.resize(capacity.slots);
    store.hints_.resize(std::bit_ceil(std::max<size_t>(capacity.slots, 1)));
    store.by_begin_.reserve(capacity.slots);
    return store;
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "the tasks on the device: out of memory");
  }
}

template <class T>
bool TaskStore<T>::find_gap(size_t size, size_t& begin) const {
  begin = 0;
  for (const uint16_t slot : by_begin_) {
    if (slots_[slot].begin - begin >= size) return true;
    begin = slots_[slot].begin + slots_[slot].size;
  }
  return values_size_ - begin >= size;
}

template <class T>
bool TaskStore<T>::make_room(size_t size, size_t& begin, uint16_t& slot) {
  for (;;) {
    const auto free = std::find_if(slots_.begin(), slots_.end(), [](const Slot& s) { return s.task == 0; });
    if (free != slots_.end() && find_gap(size, begin)) {
      slot = static_cast<uint16_t>(free - slots_.begin());
      return true;
    }
    const auto oldest =
        std::min_element(by_begin_.begin(), by_begin_.end(), [this](uint16_t a, uint16_t b) { return slots_[a].batch < slots_[b].batch; });
    if (oldest == by_begin_.end() || slots_[*oldest].batch == batch_) return false;
    slots_[*oldest] = {};
    by_begin_.erase(oldest);
  }
}

template <class T>
Status TaskStore<T>::copy(const engine::Task& task, uint16_t slot, Queue& queue) {
  std::byte* const image = staging_.data();
  memory::Arena arena(image + image_bytes_, staging_.size() - image_bytes_);
  const TaskEntries entries = lay_out_entries(arena, base_->layers);
  std::byte* const device = values_ + slots_[slot].begin;
  if (const Status made = make_task_image<T>(*base_, task.weights, image, device, entries); !made) {
    return Status::error(made.code(), "task '%s': %s", task.info.name.c_str(), made.c_str());
  }
  const size_t linears = entries.linear.size(), norms = entries.norm.size();
  PETS_RETURN_IF_ERROR(queue.upload(device, image, slots_[slot].size));
  PETS_RETURN_IF_ERROR(queue.upload(linears_ + slot * linears, entries.linear.data(), entries.linear.size_bytes()));
  PETS_RETURN_IF_ERROR(queue.upload(norms_ + slot * norms, entries.norm.data(), entries.norm.size_bytes()));
  PETS_RETURN_IF_ERROR(queue.upload(bottlenecks_ + slot * norms, entries.bottleneck.data(), entries.bottleneck.size_bytes()));
  PETS_RETURN_IF_ERROR(queue.upload(embeddings_ + slot, entries.embeddings, sizeof(TaskEmbeddings)));
  PETS_RETURN_IF_ERROR(queue.upload(heads_ + slot, entries.head, sizeof(TaskHead)));
  ++copies_;
  return queue.synchronize();  // the next task needs the staging buffer
}

template <class T>
size_t TaskStore<T>::find(uint64_t task) noexcept {
  uint16_t& hint = hints_[task & (hints_.size() - 1)];
  if (hint < slots_.size() && slots_[hint].task == task) return hint;
  const auto found = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& slot) { return slot.task == task; });
  if (found != slots_.end()) hint = static_cast<uint16_t>(found - slots_.begin());
  return static_cast<size_t>(found - slots_.begin());
}

template <class T>
Result<uint16_t> TaskStore<T>::bring(const engine::Task& task, Queue& queue) noexcept {
  if (const size_t found = find(task.id); found != slots_.size()) {
    slots_[found].batch = batch_;
    return static_cast<uint16_t>(found);
  }
  const size_t size = task_image_bytes<T>(*base_, task.weights);
  if (size > image_bytes_) {
    return Status::error(
        ErrorCode::kResourceExhausted,
        "task '%s' was added after this session was made and takes %zu bytes on the device, planned are %zu: make a new session",
        task.info.name.c_str(), size, image_bytes_);
  }
  size_t begin = 0;
  uint16_t slot = 0;
  if (!make_room(size, begin, slot)) {
    return Status::error(ErrorCode::kResourceExhausted,
                         "task '%s' (%zu bytes on the device) does not fit beside the other tasks of its batch (%zu bytes in all)",
                         task.info.name.c_str(), size, values_size_);
  }
  slots_[slot] = {task.id, batch_, begin, size};
  const auto at = std::find_if(by_begin_.begin(), by_begin_.end(), [&](uint16_t other) { return slots_[other].begin >= begin; });
  by_begin_.insert(at, slot);  // within what was reserved
  if (const Status copied = copy(task, slot, queue); !copied) {
    by_begin_.erase(std::find(by_begin_.begin(), by_begin_.end(), slot));
    slots_[slot] = {};
    return copied;
  }
  return slot;
}

template class TaskStore<float>;
template class TaskStore<Half>;
template class TaskStore<BFloat16>;

}  // namespace pets::cuda
