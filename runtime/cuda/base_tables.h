// The base encoder in device memory.
#pragma once

#include <vector>

#include "kernels/cuda/task_operators.h"
#include "runtime/cuda/device.h"
#include "runtime/engine/weights.h"
#include "runtime/memory/arena.h"

namespace pets::cuda {

using kernels::cuda::TaskNorm;

/// Pointers into device memory. T: float, Half or BFloat16, the type of weights and activations.
template <class T>
struct LayerTables {
  T* query_key_value = nullptr;  ///< [3 hidden][hidden]: one product for all three
  T* attention_output = nullptr;
  T* up = nullptr;
  T* down = nullptr;
  float* bias[engine::kLinearSites] = {};
  TaskNorm norm[engine::kSublayers];

  T* weight(engine::LinearIndex index, uint32_t hidden) const {
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
  /// Copies everything to the device and waits for it.
  static Result<BaseTables> upload(const engine::BaseWeights& base) noexcept;
  /// Of device memory that `upload` takes, in one allocation.
  static uint64_t count_bytes(const engine::BaseWeights& base);

  T *word = nullptr, *position = nullptr, *token_type = nullptr;
  TaskNorm embeddings_norm;
  T* pooler = nullptr;  ///< [hidden][hidden]; null where the base has none
  float* pooler_bias = nullptr;
  std::vector<LayerTables<T>> layer;

 private:
  DeviceMemory memory_;
};

}  // namespace pets::cuda
