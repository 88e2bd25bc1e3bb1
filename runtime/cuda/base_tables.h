// The base encoder as kernels on the device read it: in device memory, or where the bundle lies.
#pragma once

#include <vector>

#include "kernels/cuda/task_operators.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/weight_ladder.h"
#include "runtime/engine/weights.h"
#include "runtime/memory/arena.h"

namespace pets::cuda {

using kernels::cuda::TaskNorm;

/// Pointers that the device follows. T: float, Half or BFloat16, the type of weights and activations.
template <class T>
struct LayerTables {
  const T* query_key_value = nullptr;  ///< [3 hidden][hidden]: one product for all three
  const T* attention_output = nullptr;
  const T* up = nullptr;
  const T* down = nullptr;
  const float* bias[engine::kLinearSites] = {};
  TaskNorm norm[engine::kSublayers];

  const T* weight(engine::LinearIndex index, uint32_t hidden) const {
    switch (index) {
      case engine::kAttentionOutput:
        return attention_output;
      case engine::kUp:
        return up;
      case engine::kDown:
        return down;
      default:
        return query_key_value + static_cast<size_t>(index) * hidden * hidden;
    }
  }
};

template <class T>
class BaseTables {
 public:
  /// What `mapping` shows the device in the form that kernels read stays where it is; everything else is copied. Waits for the copies.
  static Result<BaseTables> create(const engine::BaseWeights& base, WeightMapping mapping) noexcept;
  /// Bytes of device memory that `create` takes, by the same code: with a mapping of the base's segment, or without.
  static uint64_t count_bytes(const engine::BaseWeights& base, bool mapped);

  const T *word = nullptr, *position = nullptr, *token_type = nullptr;
  TaskNorm embeddings_norm;
  const T* pooler = nullptr;  ///< [hidden][hidden]; null where the base has none
  const float* pooler_bias = nullptr;
  std::vector<LayerTables<T>> layer;
  /// Of device memory.
  uint64_t bytes() const { return memory_.size(); }
  const WeightMapping& mapping() const { return mapping_; }

 private:
  WeightMapping mapping_;
  DeviceMemory memory_;
};

}  // namespace pets::cuda
