// A task's PET operators as CUDA kernels find them: tables in device memory, pointers to device memory. What is absent is null.
//
// Every task that is on the device has a slot. The operators of all tasks at one site lie `stride` entries apart, so a kernel reads those
// of slot s at `operators[s * stride]`; the mix of tasks and their ranks can change without any change to a launch.
#pragma once

#include <cstdint>

#include "kernels/bottleneck/bottleneck.h"
#include "kernels/sparse/sparse_groups.h"

namespace pets::kernels::cuda {

inline constexpr uint32_t kRankMultiple = 16;  ///< the depth of a tensor core's product

/// Y = scale_output * [ X' (W o mask + sparse) + (X' a^T) b^T ] + bias, X' = scale_input * X. T is the type of activations.
struct TaskLinear {
  const float* bias = nullptr;                 ///< [out]; null: the base's
  const float* scale_input = nullptr;          ///< [in]
  const float* scale_output = nullptr;         ///< [out]
  const void* low_rank_a = nullptr;            ///< T [rank][in]
  const void* low_rank_b = nullptr;            ///< T [out][rank], the scale folded in
  uint32_t rank = 0;                           ///< a multiple of kRankMultiple: rows of a and columns of b beyond the task's own are zero
  const uint32_t* mask = nullptr;              ///< bit planes as in mask/mask.h
  const SparsePanel* sparse_panels = nullptr;  ///< as in sparse/sparse_groups.h
  const uint16_t* sparse_places = nullptr;     ///< of the entries' inputs, 16-byte aligned
  const float* sparse_values = nullptr;        ///< 16-byte aligned
};

struct TaskNorm {
  const float* gamma = nullptr;  ///< [hidden]; null: the base's
  const float* beta = nullptr;
};

/// `options` has the formula (bottleneck/bottleneck.h); its norms, biases and channel scaling point to device memory, its `down` and `up`
/// are null.
struct TaskBottleneck {
  const void* down = nullptr;  ///< T [inner][hidden]; null: no adapter here
  const void* up = nullptr;    ///< T [hidden][inner]
  uint32_t inner = 0;          ///< a multiple of kRankMultiple: what is beyond the task's own is zero, as are its biases
  Bottleneck options;
};

/// One dense layer of a head: y = activation(x weight^T + bias).
struct TaskHeadLayer {
  const void* weight = nullptr;  ///< T [out][in]
  const float* bias = nullptr;   ///< [out]
  uint32_t in = 0;               ///< a multiple of 16: columns beyond the task's own are zero
  uint32_t out = 0;              ///< a multiple of 16: rows beyond the task's own are zero, as are their biases
  Activation activation = Activation::kNone;
};

/// What a head's first layer reads.
enum class HeadInput : uint32_t { kHidden, kPooled, kPooler };

struct TaskHead {
  const TaskHeadLayer* layer = nullptr;  ///< [layers]
  uint32_t layers = 0;                   ///< 0: its input is its result
  uint32_t outputs = 0;                  ///< logits of a row
  HeadInput input = HeadInput::kHidden;
  bool normalize = false;  ///< each row of logits is made of length 1
};

/// Neighbouring rows of one task: what one block of a grouped kernel works on. Up to 16, of masks up to kMaskTileRows.
struct RowTile {
  uint32_t first_row = 0;
  uint16_t rows = 0;
  uint16_t slot = 0;
};

/// Which slot owns each row.
using RowSlots = const uint16_t*;

/// The operators of all slots at one site.
template <class Operator>
struct SiteOperators {
  const Operator* operators = nullptr;
  uint32_t stride = 0;
#if defined(__CUDACC__)
  __host__ __device__
#endif
      const Operator&
      operator[](uint32_t slot) const {
    return operators[static_cast<size_t>(slot) * stride];
  }
};

/// The row tiles of the tasks that have some operator at any site, so that a launch has no block without work but for tasks that have it
/// elsewhere. `count` lies in device memory: a captured launch has as many blocks as the largest batch needs, the others end at once.
/// Without a count all `most` tiles are there.
struct RowTiles {
  const RowTile* tiles = nullptr;
  const uint32_t* count = nullptr;
  uint32_t most = 0;  ///< blocks that are launched

#if defined(__CUDACC__)
  __device__
#endif
      bool
      end_before(uint32_t block) const {
    return count != nullptr && block >= *count;
  }
};

}  // namespace pets::kernels::cuda
