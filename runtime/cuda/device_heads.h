// A batch's heads on a CUDA device: from the hidden rows that heads read to its logits.
#pragma once

#include "runtime/cuda/base_tables.h"
#include "runtime/cuda/batch_tables.h"
#include "runtime/cuda/device.h"
#include "runtime/engine/encoder.h"
#include "runtime/engine/task_set.h"
#include "runtime/memory/arena.h"

namespace pets::cuda {

using kernels::cuda::SiteOperators;
using kernels::cuda::TaskHead;

/// Of one session. Pooling, the base's pooler where some head reads it, then one launch a layer for the heads of all tasks, however many.
template <class T>
class DeviceHeads {
 public:
  /// Buffers in device memory, which was zeroed.
  void lay_out(memory::Arena& arena, const engine::BaseWeights& base, const engine::EncoderCapacity& capacity);

  /// An error where the buffers were laid out for narrower heads than the task's.
  Status check(const engine::Task& task) const;

  /// Queues all launches from `hidden` to `logits()`. `tables` lie in device memory, filled by fill_heads, whose result or more `bounds`
  /// is. hidden: [rows that heads read][hidden size].
  Status launch(Queue& queue, const BaseTables<T>& base, const HeadTables& tables, const HeadBounds& bounds, SiteOperators<TaskHead> tasks,
                const T* hidden) const;

  /// In device memory, as engine::HeadBuffers::logits.
  const float* logits() const { return logits_; }

 private:
  Status apply_pooler(Queue& queue, const BaseTables<T>& base, uint32_t rows) const;

  uint32_t hidden_ = 0, inner_stride_ = 0;
  T* pooled_ = nullptr;  // [queries][hidden]
  T* pooler_ = nullptr;  // the same after the base's pooler
  T* inner_[2] = {};     // [tokens + queries][inner_stride]: between layers, by turns
  float* logits_ = nullptr;
  // The base's pooler is no site: no task has operators there.
  kernels::cuda::TaskLinear* no_operators_ = nullptr;  // one
  uint16_t* no_slots_ = nullptr;                       // [queries]
};

}  // namespace pets::cuda
