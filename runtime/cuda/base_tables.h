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

/// Weights of a linear, or of several with one input, their outputs one after another: in T, or int8 with a scale an output.
template <class T>
struct BaseWeight {
  const T* values = nullptr;         ///< [out][in]; null of an int8 base
  const int8_t* integers = nullptr;  ///< [out][in], int8 bases only
  const float* scale = nullptr;      ///< [out], int8 bases only

  /// Of the outputs from `first` on.
  BaseWeight from_output(size_t first, size_t in) const {
    if (integers == nullptr) return {values + first * in};
    return {nullptr, integers + first * in, scale + first};
  }
};

/// Pointers that the device follows. T: float, Half or BFloat16, the type of activations, and of weights that are not int8.
template <class T>
struct LayerTables {
  BaseWeight<T> query_key_value;  ///< [3 hidden][hidden]: one product for all three
  BaseWeight<T> attention_output;
  BaseWeight<T> up;
  BaseWeight<T> down;
  const float* bias[engine::kLinearSites] = {};
  TaskNorm norm[engine::kSublayers];

  BaseWeight<T> weight(engine::LinearIndex index, uint32_t hidden) const {
    switch (index) {
      case engine::kAttentionOutput:
        return attention_output;
      case engine::kUp:
        return up;
      case engine::kDown:
        return down;
      default:
        return query_key_value.from_output(static_cast<size_t>(index) * hidden, hidden);
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
