// The tasks that are on the device: brought in when a batch first needs them; the least recently used leave when room is needed.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/cuda/device.h"
#include "runtime/cuda/task_image.h"
#include "runtime/engine/task_set.h"
#include "runtime/memory/arena.h"

namespace pets::cuda {

using kernels::cuda::SiteOperators;

/// What a store is made for.
struct TaskStoreCapacity {
  uint32_t slots = 0;       ///< tasks at once, at most 65,535
  size_t bytes = 0;         ///< of their values
  size_t largest_task = 0;  ///< bytes of one task's values
};

/// Of one session. Allocates nothing after it is made.
template <class T>
class TaskStore {
 public:
  /// The store's device memory is a part of the session's: `lay_out` takes it, or counts it, before `bring`.
  static Result<TaskStore> create(const engine::BaseWeights& base, const TaskStoreCapacity& capacity) noexcept;
  static void lay_out(memory::Arena& arena, const engine::BaseWeights& base, const TaskStoreCapacity& capacity, TaskStore* store);

  /// Begins a batch: the tasks that are brought in from now on stay until the next one.
  void begin_batch() { ++batch_; }
  /// The slot of a task, which is copied to the device where it is not there yet. kResourceExhausted where it does not fit beside the other
  /// tasks of the batch.
  Result<uint16_t> bring(const engine::Task& task, Queue& queue) noexcept;

  SiteOperators<TaskLinear> linears(uint32_t layer, uint32_t site) const {
    return {linears_ + layer * engine::kLinearSites + site, base_->layers * engine::kLinearSites};
  }
  SiteOperators<TaskNorm> norms(uint32_t layer, uint32_t sublayer) const {
    return {norms_ + layer * engine::kSublayers + sublayer, base_->layers * engine::kSublayers};
  }
  SiteOperators<TaskBottleneck> bottlenecks(uint32_t layer, uint32_t sublayer) const {
    return {bottlenecks_ + layer * engine::kSublayers + sublayer, base_->layers * engine::kSublayers};
  }
  SiteOperators<TaskEmbeddings> embeddings() const { return {embeddings_, 1}; }
  SiteOperators<TaskHead> heads() const { return {heads_, 1}; }
  uint32_t slots() const { return static_cast<uint32_t>(slots_.size()); }
  /// Copies made since the store was made.
  uint64_t copies() const { return copies_; }

 private:
  struct Slot {
    uint64_t task = 0;           ///< Task::id; 0: free
    uint64_t batch = 0;          ///< that used it last
    size_t begin = 0, size = 0;  ///< of its values
  };

  /// The slot of a task that is on the device; slots_.size() where it is not.
  size_t find(uint64_t task) noexcept;
  /// Room for `size` bytes; frees slots of tasks that the batch does not use, the least recently used first. Null where there is none.
  bool make_room(size_t size, size_t& begin, uint16_t& slot);
  bool find_gap(size_t size, size_t& begin) const;
  Status copy(const engine::Task& task, uint16_t slot, Queue& queue);

  const engine::BaseWeights* base_ = nullptr;
  HostMemory staging_;
  std::byte* values_ = nullptr;
  size_t values_size_ = 0, image_bytes_ = 0;
  TaskLinear* linears_ = nullptr;  // tables by slot
  TaskNorm* norms_ = nullptr;
  TaskBottleneck* bottlenecks_ = nullptr;
  TaskEmbeddings* embeddings_ = nullptr;
  TaskHead* heads_ = nullptr;
  std::vector<Slot> slots_;
  std::vector<uint16_t> hints_;     // by Task::id, modulo a power of two: where the task was last; ids ascend, so they rarely collide
  std::vector<uint16_t> by_begin_;  // slots in use, ordered by where their values lie
  uint64_t batch_ = 0, copies_ = 0;
};

}  // namespace pets::cuda
