// Ragged multi-head attention on the GPU, without padding.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/task_operators.h"

namespace pets::kernels::cuda {

/// Up to kQueryRows neighbouring queries of one sequence: what one block does for one head.
struct alignas(16) AttentionTile {
  uint32_t first_query = 0;  ///< row of q and out
  uint32_t first_key = 0;    ///< row of k and v of the sequence's first token
  uint16_t queries = 0;      ///< 1..kQueryRows
  uint16_t keys = 0;         ///< the sequence's length, at most 512
  uint16_t slot = 0;         ///< of the sequence's task
};
inline constexpr uint32_t kQueryRows = 32;

/// q, k and v are the products of their linears: each value x of them is used as scale_output * x + bias, rounded to T, of its task. Then
/// out[i][head] = sum over j of softmax_j(scale * q[i][head] . k[j][head]) * v[j][head] over the keys of query i's sequence. Online
/// softmax (Milakov and Gimelshein 2018): scores, maxima, sums and the output in float; probabilities are rounded to T as an operand of
/// the second product, relative to the running maximum, and summed as rounded. A query's result depends on its sequence only, not on its
/// tile. Where q.k leaves the range of float the result is undefined.
template <class T>
struct Attention {
  const T* q = nullptr;  ///< [rows][stride]: head h of a row at h * head_size; 32-byte aligned
  const T* k = nullptr;
  const T* v = nullptr;
  uint32_t q_stride = 0, kv_stride = 0;  ///< values from row to row, multiples of 16
  T* out = nullptr;                      ///< [rows][out_stride], 32-byte aligned; rows that no tile names keep their bits
  uint32_t out_stride = 0;               ///< a multiple of 16
  const float* bias[3] = {};             ///< [heads * head_size] of the base: of q, k and v, 16-byte aligned, as the tasks' parameters are
  SiteOperators<TaskLinear> linears;     ///< of q; those of k and v follow. Without any, q, k and v are used as they are, without biases
  uint32_t heads = 0;
  uint32_t head_size = 0;  ///< a multiple of 16, at most 128
  float scale = 0;
  const AttentionTile* tiles = nullptr;
  const uint32_t* tile_count = nullptr;  ///< in device memory
  uint32_t most_tiles = 0;               ///< blocks that are launched a head
};

template <class T>
void attention(Stream stream, const Attention<T>& call);

}  // namespace pets::kernels::cuda
