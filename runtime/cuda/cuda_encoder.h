// The encoder on a CUDA device: brings a batch's tasks there, fills its tables and queues its launches, or a captured graph of them.
#pragma once

#include <memory>
#include <optional>

#include "runtime/cuda/base_tables.h"
#include "runtime/cuda/batch_tables.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/device_heads.h"
#include "runtime/cuda/encoder_launches.h"
#include "runtime/cuda/graph_cache.h"
#include "runtime/cuda/stream_schedule.h"
#include "runtime/cuda/task_store.h"
#include "runtime/engine/device_encoder.h"

namespace pets::cuda {

template <class T>
class CudaEncoder final : public engine::DeviceEncoder {
 public:
  /// `base` and `tables` must outlive the encoder.
  static Result<std::unique_ptr<engine::DeviceEncoder>> create(const engine::BaseWeights& base, const BaseTables<T>& tables,
                                                               const engine::EncoderCapacity& capacity) noexcept;
  /// Of device memory that `create` takes, in one allocation.
  static uint64_t count_bytes(const engine::BaseWeights& base, const engine::EncoderCapacity& capacity) noexcept;

  Status run(engine::PackedBatch& batch, const tokenizer::Token* tokens, const engine::HeadBuffers& heads) noexcept override;
  uint64_t device_bytes() const noexcept override { return memory_.size(); }
  const DeviceCounters& counters() const noexcept override { return counters_; }

 private:
  CudaEncoder(const engine::BaseWeights& base, const BaseTables<T>& tables, const engine::EncoderCapacity& capacity);
  Status set_up();
  /// Takes the session's device memory from `arena`, or counts it.
  static void lay_out(memory::Arena& arena, const engine::BaseWeights& base, const engine::EncoderCapacity& capacity, CudaEncoder* encoder);
  Status bring_tasks(const engine::PackedBatch& batch);
  /// Fills the tables on the host and `logit_begin`; the batch keeps only the rows that heads read.
  LaunchExtents fill_tables(engine::PackedBatch& batch, const tokenizer::Token* tokens, const engine::HeadBuffers& heads);
  /// Rounds extents up, so that batches that are nearly alike have equal ones.
  void widen(LaunchExtents& extents);
  /// Has the queue find the fastest way for the products of such batches. Overwrites activations, which no batch leaves for the next.
  Status tune(const LaunchExtents& extents);
  /// Everything from the tables' upload to the logits.
  Status queue_work(const LaunchExtents& extents);
  Status queue_batch(const LaunchExtents& extents);
  Status run_batch(engine::PackedBatch& batch, const tokenizer::Token* tokens, const engine::HeadBuffers& heads);

  const engine::BaseWeights& base_;
  const BaseTables<T>& tables_;
  const engine::EncoderCapacity capacity_;
  std::unique_ptr<Queue> queue_;
  DeviceMemory memory_;
  HostMemory host_memory_;  // the tables, and the logits
  std::byte* workspace_ = nullptr;
  Activations<T> activations_;
  DeviceHeads<T> heads_;
  BatchTables device_, host_;
  std::byte *device_tables_ = nullptr, *host_tables_ = nullptr;
  size_t tables_bytes_ = 0;
  float* host_logits_ = nullptr;
  TaskStore<T> tasks_;
  /// What a batch asks of a task again and again, by slot.
  struct Resident {
    uint64_t task = 0;  ///< Task::id, when it was noted
    uint32_t families = 0;
  };
  std::vector<Resident> residents_;
  std::vector<uint16_t> slots_;     // of the batch's sequences
  std::vector<uint32_t> families_;  // of the batch's sequences
  std::vector<uint32_t> sources_;   // of the batch's sequences: their first rows in the stage before
  /// Of the batch; with graphs of all batches so far, so that a graph serves any mix of these tasks.
  OperatorPresence presence_;
  HeadBounds widest_heads_;  // of all batches so far, but for the numbers of rows and tiles
  GraphCache graphs_;
  std::vector<const T*> layer_weights_;  // room for `tune`
  std::optional<StreamSchedule> streams_;
  DeviceCounters counters_;
  Status failed_;  // the error after which nothing runs
};

}  // namespace pets::cuda
