#include "kernels/attention/attention_cuda.h"

#include <cmath>

#include "kernels/cuda/warp_operand.h"

// A warp does 16 queries of a head by itself and in registers: no rows in shared memory, no barrier. With short sequences nearly all of its
// time is waiting for memory, so all of q, the first keys and values and the biases are asked for at once, the next keys and values while
// these are worked on. Scores come out of the first product in the order in which the second one takes probabilities. V's rows are read as
// they lie: neighbouring features of a lane are taken as columns of different products, each of which finds in the lane what it needs of
// it, and the sums of a lane are neighbours again.
namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarps = kQueryRows / kTile;
constexpr unsigned kThreads = kWarps * kWarpSize;

/// kHead: the head size, or what it is filled up to with zeros.
template <class T, unsigned kHead>
struct Sizes {
  static constexpr unsigned kSteps = kHead / kDepth;  // of the depth of q . k
  static constexpr unsigned kFeatures = kHead / 8;    // neighbours in a row of V, and of the output, that a lane holds
  /// float, whose products are made of shuffles, is not the type to be fast: it reads q, k and v where they are needed.
  static constexpr bool kAhead = sizeof(T) < sizeof(float);
  /// Tiles of keys that are worked on at a time. Registers limit them: of a head of 64, two tiles of K take 32 and of V as many.
  static constexpr unsigned kKeyTiles = kAhead && kHead <= 64 ? 2 : 1;
  static constexpr unsigned kKeys = kKeyTiles * kTile;
  /// Of a multiprocessor, that registers must allow: with heads of 64, BERT-base's 12 of 64 sequences all run at once on an H100.
  static constexpr unsigned kBlocks = !kAhead || kHead == 128 ? 4 : kHead == 64 ? 6 : 8;
};

/// Values that move together, 16 bytes an access.
template <class T, unsigned kCount>
struct alignas(kCount * sizeof(T) < 16 ? kCount * sizeof(T) : 16) Packed {
  T values[kCount];
};

template <class T, unsigned kCount>
__device__ __forceinline__ void store(T* to, const Packed<T, kCount>& from) {
#if defined(PETS_EMULATED_CUDA)
  *reinterpret_cast<Packed<T, kCount>*>(to) = from;
#else
  using Access = std::conditional_t<sizeof(from) < 16, Packed<unsigned, 2>, uint4>;  // left alone, pairs are stored value by value
  static_assert(sizeof(from) % sizeof(Access) == 0);
#pragma unroll
  for (unsigned i = 0; i < sizeof(from) / sizeof(Access); ++i) reinterpret_cast<Access*>(to)[i] = reinterpret_cast<const Access*>(&from)[i];
#endif
}

enum Part : unsigned { kQuery, kKey, kValue, kParts };

/// What makes q, k and v of their linears' products, for one head: in shared memory, a copy a warp, since registers are full of rows.
template <unsigned kHead>
class Parameters {
 public:
  static constexpr unsigned kFloats = 2 * kParts * kHead;  // biases, then scales

  template <class T>
  __device__ __forceinline__ Parameters(const Attention<T>& call, unsigned slot, unsigned head_begin)
      : own_(shared_memory<float>() + threadIdx.x / kWarpSize * kFloats) {
    constexpr unsigned kOwn = (kParts * kHead / 4 + kWarpSize - 1) / kWarpSize;
    const auto value = [](unsigned i) { return (i * kWarpSize + threadIdx.x % kWarpSize) * 4; };
    const float *bias[kOwn], *scale[kOwn];
#pragma unroll
    for (unsigned i = 0; i < kOwn; ++i) {
      const unsigned part = value(i) / kHead, feature = value(i) % kHead;
      bias[i] = scale[i] = nullptr;
      if (call.linears.operators == nullptr || part >= kParts || feature >= call.head_size) continue;
      const TaskLinear& own = (&call.linears[slot])[part];
      const float* const base = part == kQuery ? call.bias[kQuery] : part == kKey ? call.bias[kKey] : call.bias[kValue];
      bias[i] = (own.bias != nullptr ? own.bias : base) + head_begin + feature;
      if (own.scale_output != nullptr) scale[i] = own.scale_output + head_begin + feature;
    }
    Packed<float, 4> biases[kOwn], scales[kOwn];
    bool scaled = false;
#pragma unroll
    for (unsigned i = 0; i < kOwn; ++i) {
      biases[i] = {};
      scales[i] = {{1, 1, 1, 1}};
      if (bias[i] != nullptr) biases[i] = *reinterpret_cast<const Packed<float, 4>*>(bias[i]);
      if (scale[i] != nullptr) scales[i] = *reinterpret_cast<const Packed<float, 4>*>(scale[i]);
      scaled = scaled || scale[i] != nullptr;
    }
#pragma unroll
    for (unsigned i = 0; i < kOwn; ++i) {
      if (value(i) >= kParts * kHead) continue;
      *reinterpret_cast<Packed<float, 4>*>(own_ + value(i)) = biases[i];
      *reinterpret_cast<Packed<float, 4>*>(own_ + kParts * kHead + value(i)) = scales[i];
    }
    scaled_ = __any_sync(kAllLanes, scaled ? 1 : 0) != 0;  // and all of the warp's copy is there
  }
  /// Four neighbouring features of a part. kScaled: whether the task has any scale, so that nothing is asked for each value.
  template <bool kScaled>
  class Four {
   public:
    __device__ __forceinline__ Four(const Parameters& all, Part part, unsigned feature) {
      const float* const from = all.own_ + part * kHead + feature;
      bias_ = *reinterpret_cast<const Packed<float, 4>*>(from);
      if constexpr (kScaled) scale_ = *reinterpret_cast<const Packed<float, 4>*>(from + kParts * kHead);
    }
    template <class T>
    __device__ __forceinline__ void apply(T* values) const {
#pragma unroll
      for (unsigned i = 0; i < 4; i += 2) {
        float a, b;
        read_pair(values + i, a, b);
        a = kScaled ? fmaf(a, scale_.values[i], bias_.values[i]) : a + bias_.values[i];
        b = kScaled ? fmaf(b, scale_.values[i + 1], bias_.values[i + 1]) : b + bias_.values[i + 1];
        write_pair(values + i, a, b);
      }
    }

   private:
    Packed<float, 4> bias_, scale_;
  };
  /// rows.apply<kScaled>(...)
  template <class Rows, class... Arguments>
  __device__ __forceinline__ void apply(Rows& rows, Arguments... arguments) const {
    if (scaled_) {
      rows.template apply<true>(*this, arguments...);
    } else {
      rows.template apply<false>(*this, arguments...);
    }
  }

 private:
  float* own_;
  bool scaled_;
};

/// A warp's part of kTiles x 16 rows of q or k, whose depth a lane has as WarpOperand does.
template <class T, unsigned kSteps, unsigned kTiles>
class HeadRows {
 public:
  __device__ __forceinline__ void load(const T* from, unsigned stride, unsigned rows, unsigned head_size) {
#pragma unroll
    for (unsigned n = 0; n < kTiles; ++n) {
#pragma unroll
      for (unsigned step = 0; step < kSteps; ++step) {
        const unsigned at = step * kDepth;
        operands_[n][step].load(from + n * kTile * stride + at, stride, rows > n * kTile ? rows - n * kTile : 0,
                                head_size > at ? head_size - at : 0);
      }
    }
  }
  /// `feature`: of the head, where the rows begin.
  template <bool kScaled, unsigned kHead>
  __device__ __forceinline__ void apply(const Parameters<kHead>& parameters, Part part, unsigned feature) {
#pragma unroll
    for (unsigned step = 0; step < kSteps; ++step) {
#pragma unroll
      for (unsigned i = 0; i < kVectorSize; i += 4) {
        const typename Parameters<kHead>::template Four<kScaled> four(parameters, part,
                                                                      feature + step * kDepth + threadIdx.x % 4 * kVectorSize + i);
#pragma unroll
        for (unsigned n = 0; n < kTiles; ++n) {
#pragma unroll
          for (auto& row : operands_[n][step].rows) four.apply(row.values + i);
        }
      }
    }
  }
  __device__ __forceinline__ const WarpOperand<T>& operand(unsigned tile, unsigned step) const { return operands_[tile][step]; }

 private:
  WarpOperand<T> operands_[kTiles][kSteps];
};

/// A warp's part of kTiles x 16 rows of v: of four keys of each tile, in the order of a RightFragment, kFeatures neighbours.
template <class T, unsigned kFeatures, unsigned kTiles>
class ValueRows {
 public:
  __device__ __forceinline__ static unsigned feature() { return threadIdx.x % kWarpSize / 4 * kFeatures; }
  __device__ __forceinline__ void load(const T* from, unsigned stride, unsigned keys, unsigned head_size) {
#pragma unroll
    for (unsigned n = 0; n < kTiles; ++n) {
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        rows_[n][i] = {};
        if (key(n, i) < keys && feature() < head_size) {
          rows_[n][i] = *reinterpret_cast<const Packed<T, kFeatures>*>(from + key(n, i) * stride + feature());
        }
      }
    }
  }
  /// Keys that are none stay zero: whatever the bias is, they are nothing in a sum.
  template <bool kScaled, unsigned kHead>
  __device__ __forceinline__ void apply(const Parameters<kHead>& parameters, unsigned keys) {
#pragma unroll
    for (unsigned f = 0; f < kFeatures; f += 4) {
      const typename Parameters<kHead>::template Four<kScaled> four(parameters, kValue, feature() + f);
#pragma unroll
      for (unsigned n = 0; n < kTiles; ++n) {
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) four.apply(rows_[n][i].values + f);
      }
    }
    if (keys >= kTiles * kTile) return;
#pragma unroll
    for (unsigned n = 0; n < kTiles; ++n) {
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        if (key(n, i) >= keys) rows_[n][i] = {};
      }
    }
  }
  /// Of a product whose column n is feature kFeatures * n + j.
  __device__ __forceinline__ RightFragment<T> fragment(unsigned tile, unsigned j) const { return across<T>(rows_[tile], j); }

 private:
  __device__ static unsigned key(unsigned tile, unsigned i) { return tile * kTile + threadIdx.x % 4 * 2 + i % 2 + i / 2 * kTile / 2; }
  Packed<T, kFeatures> rows_[kTiles][4];
};

/// Over the four lanes that share a row of WarpSums.
__device__ __forceinline__ float row_max(float x) {
  for (int offset = 1; offset < 4; offset *= 2) {
    const float other = __shfl_xor_sync(kAllLanes, x, offset);
    x = x < other ? other : x;
  }
  return x;
}
__device__ __forceinline__ float row_sum(float x) {
  for (int offset = 1; offset < 4; offset *= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

/// The online softmax of a lane's two rows, row r being values i with i / 2 % 2 = r.
struct Softmax {
  float maximum[2] = {-INFINITY, -INFINITY};
  float sum[2] = {};  // over this lane's keys only

  /// Scores of up to `keys` keys become probabilities relative to the new maxima; sums that were relative to the old ones are to be
  /// multiplied by `rescale`.
  template <class T, unsigned kTiles>
  __device__ __forceinline__ void add(WarpSums (&scores)[kTiles], float scale, unsigned keys, LeftFragment<T> (&probabilities)[kTiles],
                                      float (&rescale)[2]) {
    float now[2] = {maximum[0], maximum[1]};
#pragma unroll
    for (unsigned n = 0; n < kTiles; ++n) {
#pragma unroll
      for (unsigned i = 0; i < WarpSums::kOwn; ++i) {
        float& score = scores[n].values[i];
        score = n * kTile + WarpSums::column(i) < keys ? score * scale : -INFINITY;
        now[i / 2 % 2] = now[i / 2 % 2] < score ? score : now[i / 2 % 2];
      }
    }
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) {
      now[r] = row_max(now[r]);
      rescale[r] = __expf(maximum[r] - now[r]);
      maximum[r] = now[r];
      sum[r] *= rescale[r];
    }
#pragma unroll
    for (unsigned n = 0; n < kTiles; ++n) {
#pragma unroll
      for (unsigned i = 0; i < WarpSums::kOwn; i += 2) {
        float a = __expf(scores[n].values[i] - maximum[i / 2 % 2]), b = __expf(scores[n].values[i + 1] - maximum[i / 2 % 2]);
        write_pair(probabilities[n].values + i, a, b);
        read_pair(probabilities[n].values + i, a, b);
        sum[i / 2 % 2] += a + b;  // as rounded, so that the weights of V add up to one
      }
    }
  }
};

constexpr unsigned kMostY = 32768;  // tiles in one direction of a grid
__device__ __forceinline__ unsigned tile_index() { return blockIdx.z * kMostY + blockIdx.y; }

/// A block does one tile of queries for one head.
template <class T, unsigned kHead>
__global__ void __launch_bounds__(kThreads, (Sizes<T, kHead>::kBlocks)) attention_kernel(Attention<T> call) {
  follow_earlier_launches();
  using Size = Sizes<T, kHead>;
  constexpr unsigned kSteps = Size::kSteps, kFeatures = Size::kFeatures, kKeyTiles = Size::kKeyTiles, kKeys = Size::kKeys;
  if (tile_index() >= *call.tile_count) return;
  const AttentionTile tile = call.tiles[tile_index()];
  const unsigned first_row = threadIdx.x / kWarpSize * kTile;
  if (first_row >= tile.queries) return;
  const unsigned rows = tile.queries - first_row, head_size = call.head_size, head_begin = blockIdx.x * head_size;
  const T* const q = call.q + static_cast<size_t>(tile.first_query + first_row) * call.q_stride + head_begin;
  // Of k and v, from the next rows that are asked for on; of them all, addresses would take registers that are not there.
  unsigned next = tile.first_key, stride = call.kv_stride;
  const auto rows_of = [&](const T* part) {
    unsigned begin = head_begin;
    begin = opaque(begin);
    return part + static_cast<size_t>(next) * stride + begin;
  };

  HeadRows<T, kSteps, 1> queries;
  HeadRows<T, kSteps, kKeyTiles> keys;
  ValueRows<T, kFeatures, kKeyTiles> values;
  if constexpr (Size::kAhead) {
    queries.load(q, call.q_stride, rows, head_size);
    keys.load(rows_of(call.k), stride, tile.keys, head_size);
    values.load(rows_of(call.v), stride, tile.keys, head_size);
  }
  const Parameters<kHead> parameters(call, tile.slot, head_begin);
  if constexpr (Size::kAhead) parameters.apply(queries, kQuery, 0);

  Softmax softmax;
  float output[kFeatures][4] = {};
#pragma unroll 1
  for (unsigned left = tile.keys;; left -= kKeys) {
    // Or the compiler keeps the parameters and every row's address in registers, which it does not have.
    __syncwarp();
    stride = opaque(stride);
    WarpSums scores[kKeyTiles];
    if constexpr (Size::kAhead) {
      parameters.apply(keys, kKey, 0);
#pragma unroll
      for (unsigned n = 0; n < kKeyTiles; ++n) {
#pragma unroll
        for (unsigned step = 0; step < kSteps; ++step) multiply_add(scores[n], queries.operand(0, step), keys.operand(n, step));
      }
    } else {
#pragma unroll 1
      for (unsigned at = 0; at < head_size; at += kDepth) {
        HeadRows<T, 1, 1> left_rows, right_rows;
        left_rows.load(q + at, call.q_stride, rows, head_size - at);
        right_rows.load(rows_of(call.k) + at, stride, left, head_size - at);
        parameters.apply(left_rows, kQuery, at);
        parameters.apply(right_rows, kKey, at);
        multiply_add(scores[0], left_rows.operand(0, 0), right_rows.operand(0, 0));
      }
    }
    const bool goes_on = left > kKeys;
    if constexpr (!Size::kAhead) values.load(rows_of(call.v), stride, left, head_size);
    next += kKeys;
    if constexpr (Size::kAhead) {
      if (goes_on) keys.load(rows_of(call.k), stride, left - kKeys, head_size);
    }

    LeftFragment<T> probabilities[kKeyTiles];
    float rescale[2];
    softmax.add(scores, call.scale, left, probabilities, rescale);
    parameters.apply(values, left);
#pragma unroll
    for (unsigned j = 0; j < kFeatures; ++j) {
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) output[j][i] *= rescale[i / 2];
#pragma unroll
      for (unsigned n = 0; n < kKeyTiles; ++n) multiply_add(output[j], probabilities[n], values.fragment(n, j));
    }
    if (!goes_on) break;
    if constexpr (Size::kAhead) values.load(rows_of(call.v), stride, left - kKeys, head_size);
  }

  // What is wanted of the tile here is found again, not kept.
  unsigned block = tile_index(), thread = threadIdx.x;
  block = opaque(block);
  thread = opaque(thread);
  const AttentionTile& to = call.tiles[block];
  const unsigned first_out = thread / kWarpSize * kTile;
  T* const out = call.out + static_cast<size_t>(to.first_query + first_out) * call.out_stride + head_begin;
#pragma unroll
  for (unsigned r = 0; r < 2; ++r) {
    const float inverse = 1.0F / row_sum(softmax.sum[r]);
    const unsigned row = WarpSums::row(2 * r);
#pragma unroll
    for (unsigned second = 0; second < 2; ++second) {
      const unsigned feature = (threadIdx.x % 4 * 2 + second) * kFeatures;
      Packed<T, kFeatures> neighbours;
#pragma unroll
      for (unsigned j = 0; j < kFeatures; j += 2) {
        write_pair(neighbours.values + j, output[j][2 * r + second] * inverse, output[j + 1][2 * r + second] * inverse);
      }
      if (first_out + row < to.queries && feature < head_size) store(out + row * call.out_stride + feature, neighbours);
    }
  }
}

template <unsigned kHead, class T>
void launch_attention(Stream stream, const Attention<T>& call) {
  // Heads first: blocks of tiles that a batch does not have come after all others.
  launch(stream, attention_kernel<T, kHead>,
         dim3(call.heads, call.most_tiles < kMostY ? call.most_tiles : kMostY, (call.most_tiles + kMostY - 1) / kMostY), dim3(kThreads),
         kWarps * Parameters<kHead>::kFloats * sizeof(float), call);
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
