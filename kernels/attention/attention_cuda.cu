#include "kernels/attention/attention_cuda.h"

#include <cmath>

#include "kernels/cuda/warp_matrix.h"

namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarps = 4;
constexpr unsigned kThreads = kWarps * kWarpSize;
constexpr unsigned kLanesPerRow = kThreads / kQueryRows;  // neighbouring lanes that share a query in softmax and output
static_assert(kLanesPerRow == 4);

/// Values that move in one access.
template <class T, unsigned kCount>
struct alignas(kCount * sizeof(T)) Packed {
  T values[kCount];
};
template <class T>
inline constexpr unsigned kVector = 16 / sizeof(T);  // values of the widest access
template <class T>
using Vector = Packed<T, kVector<T>>;

template <class P, class T>
__device__ __forceinline__ P load(const T* from) {
  return *reinterpret_cast<const P*>(from);
}
template <class P, class T>
__device__ __forceinline__ void store(T* to, const P& value) {
  *reinterpret_cast<P*>(to) = value;
}

/// Keys that are worked on at a time. Registers limit them: K and V are loaded while the product before is made, four vectors (16
/// registers) a thread. Where heads are small, shared memory: more than 64 would enlarge the scores for little fewer barriers.
template <class T, unsigned kHead>
inline constexpr unsigned kKeyBlock = kHead * sizeof(T) < 128 ? 64 : 4 * 16 * kThreads / (kHead * sizeof(T));

/// The strides put neighbouring rows of operands 4 banks apart (8 rows of 16 bytes fill all 32 banks) and rows of floats 8 banks apart (4
/// rows of 4 pairs do).
template <class T, unsigned kHead>
struct alignas(16) Shared {
  static constexpr unsigned kKeys = kKeyBlock<T, kHead>;
  static constexpr unsigned kHeadStride = kHead + kVector<T>;
  static constexpr unsigned kKeyStride = kKeys + kVector<T>;
  static constexpr unsigned kSumStride = (kKeys < kHead ? kHead : kKeys) + 8;
  static constexpr unsigned kKeysSize = kKeys * kHeadStride, kValuesSize = kHead * kKeyStride;

  float sums[kQueryRows * kSumStride];  // scores [query][key], then the product of the key block [query][feature]
  T queries[kQueryRows * kHeadStride];
  T operand[kKeysSize < kValuesSize ? kValuesSize : kKeysSize];  // keys [key][feature], then values [feature][key]
  T probabilities[kQueryRows * kKeyStride];
};

/// kRows rows of a head on the way from global to shared memory, in the registers of a block; zero where a row or a feature is none.
template <class T, unsigned kHead, unsigned kRows>
class RowsInFlight {
 public:
  __device__ __forceinline__ void load_rows(const T* from, uint32_t stride, uint32_t rows, uint32_t head_size) {
#pragma unroll
    for (unsigned i = 0; i < kOwn; ++i) {
      values_[i] = {};
      if (row(i) < rows && feature(i) < head_size) values_[i] = load<Vector<T>>(from + row(i) * stride + feature(i));
    }
  }
  /// to: [kRows][kStride]
  __device__ __forceinline__ void store_rows(T* to) const {
#pragma unroll
    for (unsigned i = 0; i < kOwn; ++i) store(&to[row(i) * kStride + feature(i)], values_[i]);
  }

 private:
  static constexpr unsigned kStride = kHead + kVector<T>;
  static constexpr unsigned kRowVectors = kHead / kVector<T>, kOwn = kRows * kRowVectors / kThreads;
  static_assert(kOwn * kThreads == kRows * kRowVectors);
  __device__ static unsigned row(unsigned i) { return (i * kThreads + threadIdx.x) / kRowVectors; }
  __device__ static unsigned feature(unsigned i) { return (i * kThreads + threadIdx.x) % kRowVectors * kVector<T>; }
  Vector<T> values_[kOwn];
};

/// The same for a block of V, which is transposed on the way. A thread has the same features of two neighbouring keys and stores both at
/// once; neighbouring lanes have the two halves of a 32-byte sector, the next lanes the next keys, which lie next to each other in a
/// transposed row.
template <class T, unsigned kHead, unsigned kKeys>
class ValuesInFlight {
 public:
  __device__ __forceinline__ void load_rows(const T* from, uint32_t stride, uint32_t keys, uint32_t head_size) {
#pragma unroll
    for (unsigned i = 0; i < kOwn; ++i) {
#pragma unroll
      for (unsigned second = 0; second < 2; ++second) {
        values_[i][second] = {};
        if (key(i) + second < keys && feature(i) < head_size) {
          values_[i][second] = load<Vector<T>>(from + (key(i) + second) * stride + feature(i));
        }
      }
    }
  }
  /// to: [kHead][kStride]
  __device__ __forceinline__ void store_transposed(T* to) const {
#pragma unroll
    for (unsigned i = 0; i < kOwn; ++i) {
#pragma unroll
      for (unsigned j = 0; j < kVector<T>; ++j) {
        const Packed<T, 2> pair = {{values_[i][0].values[j], values_[i][1].values[j]}};
        store(&to[(feature(i) + j) * kStride + key(i)], pair);
      }
    }
  }

 private:
  static constexpr unsigned kStride = kKeys + kVector<T>;
  static constexpr unsigned kPairs = kKeys / 2 * (kHead / kVector<T>), kOwn = kPairs / kThreads;
  static_assert(kOwn * kThreads == kPairs);
  __device__ static unsigned key(unsigned i) { return (i * kThreads + threadIdx.x) % kKeys / 2 * 2; }
  __device__ static unsigned feature(unsigned i) {
    const unsigned at = i * kThreads + threadIdx.x;
    return (at / kKeys * 2 + at % 2) * kVector<T>;
  }
  Vector<T> values_[kOwn][2];
};

__device__ __forceinline__ float row_max(float x) {
  for (int offset = 1; offset < static_cast<int>(kLanesPerRow); offset *= 2) {
    const float other = __shfl_xor_sync(kAllLanes, x, offset);
    x = x < other ? other : x;
  }
  return x;
}
__device__ __forceinline__ float row_sum(float x) {
  for (int offset = 1; offset < static_cast<int>(kLanesPerRow); offset *= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

/// to[16 * row_tiles][16 * columns] = a b^T over `depth` tiles of 16, the tiles of the result dealt to the warps. row_tiles: 1 or 2.
template <class T, unsigned kMostDepth>
__device__ __forceinline__ void block_product(const T* a, unsigned lda, const T* b, unsigned ldb, unsigned row_tiles, unsigned columns,
                                              unsigned depth, float* to, unsigned ld) {
#pragma unroll 1
  for (unsigned i = threadIdx.x / kWarpSize; i < row_tiles * columns; i += kWarps) {
    const unsigned row = (i & (row_tiles - 1)) * kTile, column = (i >> (row_tiles - 1)) * kTile;  // i modulo and over row_tiles
    WarpTile<T> product;
#pragma unroll
    for (unsigned k = 0; k < kMostDepth; ++k) {
      if (k < depth) product.multiply_add(a + row * lda + k * kTile, lda, b + column * ldb + k * kTile, ldb);
    }
    product.store(to + row * ld + column, ld);
  }
}

/// A block does one tile of queries for one head. kHead: the head size, or what it is filled up to with zeros.
template <class T, unsigned kHead>
__global__ void __launch_bounds__(kThreads) attention_kernel(Attention<T> call) {
  using Memory = Shared<T, kHead>;
  constexpr unsigned kKeys = Memory::kKeys;
  if (blockIdx.x >= *call.tile_count) return;
  const AttentionTile tile = call.tiles[blockIdx.x];
  Memory& shared = *shared_memory<Memory>();
  const unsigned row_tiles = (tile.queries + kTile - 1) / kTile;
  const unsigned row = threadIdx.x / kLanesPerRow, lane_in_row = threadIdx.x % kLanesPerRow;
  const bool has_row = row < row_tiles * kTile;  // the same for all lanes of a warp
  const size_t head_begin = static_cast<size_t>(blockIdx.y) * call.head_size;
  const T* const k = call.k + static_cast<size_t>(tile.first_key) * call.kv_stride + head_begin;
  const T* const v = call.v + static_cast<size_t>(tile.first_key) * call.kv_stride + head_begin;

  RowsInFlight<T, kHead, kKeys> keys;
  keys.load_rows(k, call.kv_stride, tile.keys, call.head_size);
  {
    RowsInFlight<T, kHead, kQueryRows> queries;
    queries.load_rows(call.q + static_cast<size_t>(tile.first_query) * call.q_stride + head_begin, call.q_stride, tile.queries,
                      call.head_size);
    queries.store_rows(shared.queries);
  }
  float maximum = -INFINITY, sum = 0;  // of the row; the sum over this lane's keys only
  float output[kHead / kLanesPerRow];
#pragma unroll
  for (float& value : output) value = 0;

  for (uint32_t first = 0; first < tile.keys; first += kKeys) {
    const uint32_t left = tile.keys - first;
    const unsigned key_tiles = left < kKeys ? (left + kTile - 1) / kTile : kKeys / kTile;
    ValuesInFlight<T, kHead, kKeys> values;
    values.load_rows(v + static_cast<size_t>(first) * call.kv_stride, call.kv_stride, left, call.head_size);
    keys.store_rows(shared.operand);
    __syncthreads();
    block_product<T, kHead / kTile>(shared.queries, Memory::kHeadStride, shared.operand, Memory::kHeadStride, row_tiles, key_tiles,
                                    kHead / kTile, shared.sums, Memory::kSumStride);
    __syncthreads();

    values.store_transposed(shared.operand);
    if (left > kKeys) {
      keys.load_rows(k + static_cast<size_t>(first + kKeys) * call.kv_stride, call.kv_stride, left - kKeys, call.head_size);
    }
    float rescale = 0;
    if (has_row) {
      float scores[kKeys / kLanesPerRow];
      float new_maximum = maximum;
#pragma unroll
      for (unsigned j = 0; j < kKeys / kLanesPerRow; j += 2) {
        const unsigned key = j * kLanesPerRow + 2 * lane_in_row;
        const auto pair = load<Packed<float, 2>>(shared.sums + row * Memory::kSumStride + key);
#pragma unroll
        for (unsigned second = 0; second < 2; ++second) {
          const float score = key + second < left ? pair.values[second] * call.scale : -INFINITY;
          scores[j + second] = score;
          new_maximum = new_maximum < score ? score : new_maximum;
        }
      }
      new_maximum = row_max(new_maximum);
      rescale = __expf(maximum - new_maximum);
      maximum = new_maximum;
      sum *= rescale;
#pragma unroll
      for (unsigned j = 0; j < kKeys / kLanesPerRow; j += 2) {
        const Packed<T, 2> pair = {{from_float<T>(__expf(scores[j] - maximum)), from_float<T>(__expf(scores[j + 1] - maximum))}};
        sum += to_float(pair.values[0]) + to_float(pair.values[1]);  // as rounded, so that the weights of V add up to one
        store(shared.probabilities + row * Memory::kKeyStride + j * kLanesPerRow + 2 * lane_in_row, pair);
      }
    }
    __syncthreads();

    block_product<T, kKeys / kTile>(shared.probabilities, Memory::kKeyStride, shared.operand, Memory::kKeyStride, row_tiles, kHead / kTile,
                                    key_tiles, shared.sums, Memory::kSumStride);
    __syncthreads();
    if (has_row) {
#pragma unroll
      for (unsigned j = 0; j < kHead / kLanesPerRow; j += 2) {
        const auto pair = load<Packed<float, 2>>(shared.sums + row * Memory::kSumStride + j * kLanesPerRow + 2 * lane_in_row);
        output[j] = fmaf(output[j], rescale, pair.values[0]);
        output[j + 1] = fmaf(output[j + 1], rescale, pair.values[1]);
      }
    }
  }

  const float inverse = 1.0F / row_sum(sum);
  if (row >= tile.queries) return;
  T* const out = call.out + static_cast<size_t>(tile.first_query + row) * call.out_stride + head_begin;
#pragma unroll
  for (unsigned j = 0; j < kHead / kLanesPerRow; j += 2) {
    const unsigned feature = j * kLanesPerRow + 2 * lane_in_row;
    const Packed<T, 2> pair = {{from_float<T>(output[j] * inverse), from_float<T>(output[j + 1] * inverse)}};
    if (feature < call.head_size) store(out + feature, pair);
  }
}

template <unsigned kHead, class T>
void launch_attention(Stream stream, const Attention<T>& call) {
  using Memory = Shared<T, kHead>;
  static_assert(sizeof(Memory) <= 48U << 10);  // what a launch may have without opting in
  static_assert(offsetof(Memory, queries) % 32 == 0 && offsetof(Memory, operand) % 32 == 0 && offsetof(Memory, probabilities) % 32 == 0);
  launch(stream, attention_kernel<T, kHead>, dim3(call.most_tiles, call.heads), dim3(kThreads), sizeof(Memory), call);
}

}  // namespace

template <class T>
void attention(Stream stream, const Attention<T>& call) {
  if (call.most_tiles == 0) return;
  if (call.head_size <= 32) {
    launch_attention<32>(stream, call);
  } else if (call.head_size <= 64) {
    launch_attention<64>(stream, call);
  } else {
    launch_attention<128>(stream, call);
  }
}

template void attention(Stream, const Attention<float>&);
template void attention(Stream, const Attention<Half>&);
template void attention(Stream, const Attention<BFloat16>&);

}  // namespace pets::kernels::cuda
