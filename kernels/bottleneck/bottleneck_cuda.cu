#include "kernels/bottleneck/bottleneck_cuda.h"

#include "kernels/activation/activation_cuda.h"
#include "kernels/cuda/warp_operand.h"
#include "kernels/norm/warp_norm_cuda.h"

// One block works on a tile of up to 16 rows, in four steps with a barrier after each:
//   1. A warp a row: the operand of the down product, u or LN(u), rounded to T.
//   2. Down product, 64 inner columns at a time, each warp with a part of the columns and of the depth (hidden), so that all have work
//      however few columns there are; their sums are added in the order of the depth. Activation, rounded to T: the operand of the up
//      product.
//   3. Up product: the warps share the columns; its sums lie in float where the operand of step 1 lay.
//   4. A warp a row: the rest of the formula. h and r are read again, from L1 or L2: registers for them there are none in between.
// Each step needs little time once its operands are there. So they are asked for ahead: the first weights of the down product with the
// rows, before step 1 waits for anything, and each further operand of the weights into the registers of the one that was just used, so that
// memory has something to do at all times, through the barriers. The up product's weights are on their way to L2 from the start.
namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarps = kTile;  // one a row in steps 1 and 4
constexpr unsigned kThreads = kWarps * kWarpSize;
constexpr unsigned kGroupTiles = 4;  // of columns of the down product at once
constexpr unsigned kGroup = kGroupTiles * kTile;
constexpr unsigned kPairs = WarpSums::kOwn / 2;               // neighbouring sums of a lane
constexpr unsigned kPartFloats = kPairs * kWarpSize * 2;      // of a warp
static_assert(kThreads == kGroupTiles * kPairs * kWarpSize);  // a thread adds the parts of one pair
static_assert(kWarps * kTile == 2 * kWarpRowFeatures);        // a column tile a warp for two vectors of a row

/// What fits into the 128 registers that each of 512 threads may have: the weights on their way, 8 registers an operand of a 16-bit type,
/// the sums of the up product, 8 a tile, and what belongs to a row. float, whose products are made of shuffles, is not the type to be fast.
template <class T, unsigned kVectors>
struct Ahead {
  static constexpr bool kShort = sizeof(T) < sizeof(float);
  static constexpr bool kRows = kShort && kVectors <= 6;  ///< a row's values and parameters are asked for ahead, not where they are used
  static constexpr unsigned kColumnTiles = kVectors / 2;  ///< of a warp in the up product
  static constexpr unsigned kTiles = !kShort ? 1 : kColumnTiles > 3 ? 2 : kColumnTiles;  ///< of them at once
  static constexpr unsigned kDepths = 2;                                                 ///< of each tile at once
  static constexpr unsigned kOperands = kTiles * kDepths;
  static constexpr unsigned kFirst = kRows ? 2 : 0;  ///< before step 1, whose rows and bias need registers: with three, 24 bytes spill
  static_assert(kColumnTiles % kTiles == 0);
};

/// Values from row to row of an operand in shared memory: an odd multiple of 64 bytes, so that the two rows that eight lanes of an operand
/// read together lie in different banks.
template <class T>
__host__ __device__ constexpr unsigned operand_stride(unsigned columns) {
  constexpr unsigned kBytes = sizeof(T);
  return ((columns * kBytes + 63) / 128 * 128 + 64) / kBytes;
}
/// Floats from row to row of the up product's sums: four rows' pairs, which 16 lanes write together, in different banks.
__host__ __device__ constexpr unsigned products_stride(unsigned columns) { return (columns + 31) / 32 * 32 + 8; }

/// Shared memory of a block. `products` lies where `input` and `parts` do.
template <class T>
struct Shared {
  T* inner;         ///< [16][operand_stride(inner)]
  T* input;         ///< [16][operand_stride(hidden)]
  float* parts;     ///< [kWarps][kPairs][32 lanes][2]: sums of the down product
  float* products;  ///< [16][products_stride(hidden)]

  __device__ Shared(unsigned hidden, unsigned most_inner)
      : inner(shared_memory<T>()),
        input(inner + kTile * operand_stride<T>(most_inner)),
        parts(reinterpret_cast<float*>(input + kTile * operand_stride<T>(hidden))),
        products(reinterpret_cast<float*>(input)) {}
  static size_t bytes(unsigned hidden, unsigned most_inner) {
    const size_t down = kTile * operand_stride<T>(hidden) * sizeof(T) + kWarps * kPartFloats * sizeof(float);
    const size_t up = kTile * products_stride(hidden) * sizeof(float);
    return kTile * operand_stride<T>(most_inner) * sizeof(T) + (down < up ? up : down);
  }
};

/// Brings the `bytes` of an array to L2, 128 at a time, a thread each of `threads`.
__device__ __forceinline__ void prefetch(const void* from, unsigned bytes, unsigned thread, unsigned threads) {
#if defined(__CUDACC__)
#pragma unroll 1
  for (unsigned at = thread * 128; at < bytes; at += threads * 128) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(static_cast<const char*>(from) + at));
  }
#else
  (void)from, (void)bytes, (void)thread, (void)threads;
#endif
}

/// A task's parameters outside of its bottleneck: where they are. Asked for where the call stands, again rather than kept in registers.
template <class T>
struct Parameters {
  const BottleneckSite<T>& call;
  unsigned slot;

  __device__ __forceinline__ const float* bias() const {
    const float* const own = pointer(call.linears[slot].bias);
    return own != nullptr ? own : call.bias;
  }
  __device__ __forceinline__ const float* scale() const { return pointer(call.linears[slot].scale_output); }
  __device__ __forceinline__ NormParameters norm() const {
    const float *const gamma = pointer(call.norms[slot].gamma), *const beta = pointer(call.norms[slot].beta);
    return {gamma != nullptr ? gamma : call.norm.gamma, gamma != nullptr ? beta : call.norm.beta, call.epsilon};
  }

 private:
  __device__ __forceinline__ static const float* pointer(const float* const& at) { return load_ahead<1>(&at, true).values[0]; }
};

/// A parameter of every feature that is added: asked for ahead, or read from where it is.
template <class T, unsigned kVectors>
struct RowParameter {
  const float* from = nullptr;  ///< null: none
  StoredRow<float, kVectors> row;

  __device__ __forceinline__ void load(const float* from_, unsigned width, bool there) {
    from = from_;
    if constexpr (Ahead<T, kVectors>::kRows) row.load(from, width, there && from != nullptr);
  }
};

/// What the formula starts from, of one row. A row that the tile does not have is not read.
template <class T, unsigned kVectors>
struct RowInputs {
  const T* dense_at;
  const T* residual_at;
  const float* scale;
  unsigned width;
  bool there;
  StoredRow<T, kVectors> dense, residual;  // where they are kept

  __device__ __forceinline__ void load() {
    if constexpr (Ahead<T, kVectors>::kRows) {
      dense.load(dense_at, width, there);
      residual.load(residual_at, width, there);
    }
  }
  __device__ __forceinline__ WarpRow<kVectors> r() const {
    if constexpr (Ahead<T, kVectors>::kRows) return to_floats(residual);
    WarpRow<kVectors> row;
    if (!there) return row;
    for_each_vector(row, width, [&](Vector4& x, unsigned at) { x = load_vector<kRowVectorSize>(residual_at + at); });
    return row;
  }
  __device__ __forceinline__ WarpRow<kVectors> h(const RowParameter<T, kVectors>& bias) const {
    WarpRow<kVectors> row;
    if constexpr (!Ahead<T, kVectors>::kRows) {
      if (!there) return row;
      for_each_vector(row, width, [&](Vector4& x, unsigned at) {
        x = load_vector<kRowVectorSize>(dense_at + at);
        if (scale != nullptr) x = x * load_vector<kRowVectorSize>(scale + at);  // a branch each: the loads of few at a time
        x = x + load_vector<kRowVectorSize>(bias.from + at);
      });
      return row;
    }
    row = to_floats(dense);
    if (scale != nullptr) {
      for_each_vector(row, width, [&](Vector4& x, unsigned at) { x = x * load_vector<kRowVectorSize>(scale + at); });
    }
    return row + to_floats(bias.row);
  }
};

template <unsigned kVectors>
__device__ __forceinline__ void normalize(WarpRow<kVectors>& row, unsigned width, const NormParameters& norm) {
  normalize(row, width, norm.gamma, norm.beta, norm.epsilon);
}

/// u of the formula.
template <class T, unsigned kVectors>
__device__ __forceinline__ WarpRow<kVectors> u_of(const WarpRow<kVectors>& h, const RowInputs<T, kVectors>& inputs,
                                                  const Bottleneck& options, const Parameters<T>& parameters) {
  if (options.parallel) return inputs.r();
  WarpRow<kVectors> u = h;
  if (options.original_norm_before) {
    u = u + inputs.r();
    normalize(u, inputs.width, parameters.norm());
  }
  return u;
}

/// A warp's part of the down product of the columns [first, first + kGroup), of which there are `inner`: a tile of columns, and every so
/// many runs of the depth, each as long as there are operands on their way. The operands of a run lie at constant distances: an address for
/// each would take the registers.
struct DownPart {
  unsigned tiles;   ///< of columns that the warps share: 1, 2 or 4
  unsigned column;  ///< first of the warp's tile, maybe beyond `inner`
  unsigned depth;   ///< first of the warp's
  unsigned next;    ///< from a run of the warp's to its next

  __device__ __forceinline__ DownPart(unsigned first, unsigned inner, unsigned run) {
    const unsigned warp = threadIdx.x / kWarpSize, left = (inner - first) / kTile;
    const unsigned shift = left < 3 ? left - 1 : 2;  // no division
    tiles = 1U << shift;
    column = first + (warp & (tiles - 1)) * kTile;
    depth = (warp >> shift) * run;
    next = (kWarps >> shift) * run;
  }
};

/// The weights' operands on their way.
template <class T, unsigned kVectors>
struct Weights {
  using Counts = Ahead<T, kVectors>;
  const T* down;
  const T* up;
  unsigned hidden, inner;
  WarpOperand<T> operands[Counts::kOperands];

  static constexpr unsigned kRun = Counts::kOperands * kDepth;

  /// Operand i of the run of the warp's part that begins at `depth`.
  __device__ __forceinline__ void load_down(unsigned i, const DownPart& part, unsigned depth) {
    const unsigned at = depth + i * kDepth;
    operands[i].load_ahead(down + part.column * hidden + at, hidden, part.column < inner ? kTile : 0, at < hidden ? hidden - at : 0);
  }
  /// Operand i: of column tiles from the warp's `tile`-th on, each at kDepths depths from `depth` on.
  __device__ __forceinline__ void load_up(unsigned i, unsigned tile, unsigned depth) {
    const unsigned column = ((tile + i % Counts::kTiles) * kWarps + threadIdx.x / kWarpSize) * kTile;
    const unsigned at = depth + i / Counts::kTiles * kDepth;
    operands[i].load_ahead(up + column * inner + at, inner, column < hidden ? kTile : 0, at < inner ? inner - at : 0);
  }
};

/// Step 2, with the first operands on their way; afterwards those of step 3 are. Ends with a barrier.
template <class T, unsigned kVectors>
__device__ __forceinline__ void down_product(Weights<T, kVectors>& weights, const Bottleneck& options, const Shared<T>& shared) {
  constexpr unsigned kOperands = Ahead<T, kVectors>::kOperands;
  constexpr unsigned kRun = Weights<T, kVectors>::kRun;
  const unsigned hidden = weights.hidden, inner = weights.inner, warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  // The pair of sums that this thread adds up, of the group's columns.
  const unsigned own_tile = warp / kPairs, pair = warp % kPairs;
  const unsigned row = WarpSums::row(2 * pair), own_column = own_tile * kTile + WarpSums::column(2 * pair);
  for (unsigned first = 0; first < inner; first += kGroup) {
    const DownPart part(first, inner, kRun);
    const bool has_bias = options.down_bias != nullptr && first + own_column < inner;
    const StoredVector<float, 2> bias = load_ahead<2>(has_bias ? options.down_bias + first + own_column : nullptr, has_bias);
    WarpSums sums;
    unsigned depth = part.depth;
    bool more = true;
    while (more) {  // once where the warp has no depth, too: it loads what comes next
      more = depth + part.next < hidden;
      const bool more_columns = first + kGroup < inner;
#pragma unroll
      for (unsigned i = 0; i < kOperands; ++i) {
        const unsigned at = depth + i * kDepth;
        if (at < hidden) {
          WarpOperand<T> left;
          left.load(shared.input + at, operand_stride<T>(hidden), kTile, hidden - at);
          multiply_add(sums, left, weights.operands[i]);
        }
        if (more) {
          weights.load_down(i, part, depth + part.next);
        } else if (more_columns) {
          const DownPart next(first + kGroup, inner, kRun);
          weights.load_down(i, next, next.depth);
        } else {
          weights.load_up(i, 0, 0);
        }
      }
      depth += part.next;
    }
#pragma unroll
    for (unsigned i = 0; i < kPairs; ++i) {
      store_vector(shared.parts + warp * kPartFloats + (i * kWarpSize + lane) * 2,
                   FloatVector<2>{{sums.values[2 * i], sums.values[2 * i + 1]}});
    }
    __syncthreads();
    if (own_tile < part.tiles && first + own_column < inner) {
      FloatVector<2> x = constant_vector<2>(0);
#pragma unroll 4
      for (unsigned w = own_tile; w < kWarps; w += part.tiles) {
        x = x + load_vector<2>(shared.parts + w * kPartFloats + (pair * kWarpSize + lane) * 2);
      }
      x = x + to_floats(bias);
      activate(options.activation, x);
      store_vector(shared.inner + row * operand_stride<T>(inner) + first + own_column, x);
    }
    __syncthreads();
  }
}

/// Step 3, with the first operands on their way, without the barrier.
template <class T, unsigned kVectors>
__device__ __forceinline__ void up_product(Weights<T, kVectors>& weights, const Shared<T>& shared) {
  using Counts = Ahead<T, kVectors>;
  const unsigned hidden = weights.hidden, inner = weights.inner, warp = threadIdx.x / kWarpSize;
#pragma unroll 1
  for (unsigned tile = 0; tile < Counts::kColumnTiles; tile += Counts::kTiles) {
    WarpSums sums[Counts::kTiles];
    for (unsigned depth = 0; depth < inner; depth += Counts::kDepths * kDepth) {
      const bool more = depth + Counts::kDepths * kDepth < inner;
#pragma unroll
      for (unsigned d = 0; d < Counts::kDepths; ++d) {
        const unsigned at = depth + d * kDepth;
        WarpOperand<T> left;
        left.load(shared.inner + at, operand_stride<T>(inner), kTile, at < inner ? inner - at : 0);
#pragma unroll
        for (unsigned n = 0; n < Counts::kTiles; ++n) {
          const unsigned i = d * Counts::kTiles + n;
          if (at < inner) multiply_add(sums[n], left, weights.operands[i]);
          if (more) {
            weights.load_up(i, tile, depth + Counts::kDepths * kDepth);
          } else if (tile + Counts::kTiles < Counts::kColumnTiles) {
            weights.load_up(i, tile + Counts::kTiles, 0);
          }
        }
      }
    }
#pragma unroll
    for (unsigned n = 0; n < Counts::kTiles; ++n) {
      const unsigned column = ((tile + n) * kWarps + warp) * kTile;
      if (column >= hidden) break;
#pragma unroll
      for (unsigned i = 0; i < kPairs; ++i) {
        store_vector(shared.products + WarpSums::row(2 * i) * products_stride(hidden) + column + WarpSums::column(2 * i),
                     FloatVector<2>{{sums[n].values[2 * i], sums[n].values[2 * i + 1]}});
      }
    }
  }
}

/// Step 4 for one row. `h`: its h where rows are asked for ahead, overwritten, as is `product`, its row of the up product; `result` is the
/// row that inputs.r() reads, each lane its own features.
template <class T, unsigned kVectors>
__device__ __forceinline__ void finish_row(WarpRow<kVectors>& h, const RowParameter<T, kVectors>& bias,
                                           const RowInputs<T, kVectors>& inputs, const RowParameter<T, kVectors>& up_bias,
                                           const Bottleneck& options, const Parameters<T>& parameters, float* product, T* result) {
  const unsigned width = inputs.width;
  WarpRow<kVectors> o;
  if constexpr (Ahead<T, kVectors>::kRows) {
    for_each_vector(o, width, [&](Vector4& x, unsigned at) { x = load_vector<kRowVectorSize>(product + at); });
    o = o + to_floats(up_bias.row);
    if (options.channel_scaling != nullptr) {
      for_each_vector(o, width, [&](Vector4& x, unsigned at) { x = x * load_vector<kRowVectorSize>(options.channel_scaling + at); });
    } else {
      const Vector4 scaling = constant_vector<kRowVectorSize>(options.scaling);
      for_each_vector(o, width, [&](Vector4& x, unsigned) { x = x * scaling; });
    }
  } else {
    for_each_vector(o, width, [&](Vector4& x, unsigned at) {
      x = load_vector<kRowVectorSize>(product + at);
      if (up_bias.from != nullptr) x = x + load_vector<kRowVectorSize>(up_bias.from + at);
      x = x * load_or<kRowVectorSize>(options.channel_scaling, at, options.scaling);
    });
  }
  const bool norm_of_sum = !options.parallel && options.adapter_residual_before_norm;
  const bool norm_after = options.norm_after.gamma != nullptr;
  if (norm_after && !norm_of_sum) normalize(o, width, options.norm_after);
  // Where h is not there yet, o makes room for it.
  if constexpr (!Ahead<T, kVectors>::kRows) {
    for_each_vector(o, width, [&](const Vector4& x, unsigned at) { store_vector(product + at, x); });
    h = inputs.h(bias);
  }
  if (!options.parallel && options.residual_before_norm == ResidualBeforeNorm::kPostAdd) h = h + inputs.r();
  if (!options.parallel && options.residual_before_norm == ResidualBeforeNorm::kOriginal) h = u_of(h, inputs, options, parameters);
  if constexpr (!Ahead<T, kVectors>::kRows) {
    for_each_vector(o, width, [&](Vector4& x, unsigned at) { x = load_vector<kRowVectorSize>(product + at); });
  }
  o = o + h;
  if (norm_after && norm_of_sum) normalize(o, width, options.norm_after);
  if (options.original_norm_after) {
    const NormParameters norm = parameters.norm();
    o = o + inputs.r();
    if constexpr (Ahead<T, kVectors>::kRows) {
      __syncwarp();
      StoredRow<float, kVectors> gamma, beta;
      gamma.load(norm.gamma, width);
      beta.load(norm.beta, width);
      normalize(o, width, gamma, beta, norm.epsilon);
    } else {
      normalize(o, width, norm);
    }
  }
  for_each_vector(o, width, [&](const Vector4& x, unsigned at) { store_vector(result + at, x); });
}

// __syncwarp: the compiler would move loads from before it behind it, to where their values are needed, or from behind it before it, where
// there are no registers for them.
template <class T, unsigned kVectors>
__global__ void __launch_bounds__(kThreads, 1) bottleneck_kernel(BottleneckSite<T> call) {
  follow_earlier_launches();
  using Counts = Ahead<T, kVectors>;
  if (call.tiles.end_before(blockIdx.x)) return;
  const unsigned warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize, width = call.hidden;
  const Shared<T> shared(width, call.most_inner);
  const RowTile& tile = call.tiles.tiles[blockIdx.x];
  const TaskBottleneck& task = call.bottlenecks[tile.slot];
  const Parameters<T> parameters{call, tile.slot};
  {
    const float *const bias_at = parameters.bias(), *const scale = parameters.scale();
    const NormParameters norm = parameters.norm();
    __syncwarp();
    if (task.down == nullptr) return;
    const bool there = warp < tile.rows;
    const size_t offset = static_cast<size_t>(tile.first_row + warp) * width;
    RowInputs<T, kVectors> inputs{call.dense + offset, call.residual + offset, scale, width, there, {}, {}};
    RowParameter<T, kVectors> bias;
    inputs.load();
    bias.load(bias_at, width, there);
    __syncwarp();
    Weights<T, kVectors> weights{static_cast<const T*>(task.down), static_cast<const T*>(task.up), width, task.inner, {}};
    const DownPart part(0, weights.inner, Weights<T, kVectors>::kRun);
#pragma unroll
    for (unsigned i = 0; i < Counts::kFirst; ++i) weights.load_down(i, part, part.depth);
    __syncwarp();
    prefetch(weights.up, width * weights.inner * sizeof(T), threadIdx.x, kThreads);
    if (warp == 0) prefetch(norm.gamma, width * sizeof(float), lane, kWarpSize);
    if (warp == 1) prefetch(norm.beta, width * sizeof(float), lane, kWarpSize);
    if (warp == 2 && task.options.up_bias != nullptr) prefetch(task.options.up_bias, width * sizeof(float), lane, kWarpSize);

    WarpRow<kVectors> u;
    if (there) {
      u = u_of(inputs.h(bias), inputs, task.options, parameters);
      if (task.options.norm_before.gamma != nullptr) normalize(u, width, task.options.norm_before);
    }
    for_each_vector(u, width, [&](const Vector4& x, unsigned at) { store_vector(shared.input + warp * operand_stride<T>(width) + at, x); });
    __syncwarp();
#pragma unroll
    for (unsigned i = Counts::kFirst; i < Counts::kOperands; ++i) weights.load_down(i, part, part.depth);
    __syncthreads();
    down_product(weights, task.options, shared);
    up_product(weights, shared);
  }
  // What the last step begins with is read again, from L1 rather than kept in registers: the tables, too.
  __syncwarp();
  const float *const bias_at = parameters.bias(), *const scale = parameters.scale();
  const bool there = warp < tile.rows;
  const size_t offset = static_cast<size_t>(tile.first_row + warp) * width;
  RowInputs<T, kVectors> inputs{call.dense + offset, call.residual + offset, scale, width, there, {}, {}};
  RowParameter<T, kVectors> bias, up_bias;
  inputs.load();
  bias.load(bias_at, width, there);
  WarpRow<kVectors> h;
  if constexpr (Counts::kRows) h = inputs.h(bias);
  __syncwarp();
  up_bias.load(task.options.up_bias, width, there);
  __syncthreads();
  if (!there) return;
  finish_row(h, bias, inputs, up_bias, task.options, parameters, shared.products + warp * products_stride(width), call.residual + offset);
}

template <class T, unsigned kVectors>
void launch_for(Stream stream, const BottleneckSite<T>& call) {
  const size_t bytes = Shared<T>::bytes(call.hidden, call.most_inner);
#if defined(__CUDACC__)
  constexpr size_t kUnasked = size_t{48} << 10;  // what every launch may have; a refusal of more is the launch's error, too
  if (bytes > kUnasked) {
    cudaFuncSetAttribute(bottleneck_kernel<T, kVectors>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  }
#endif
  launch(stream, bottleneck_kernel<T, kVectors>, dim3(call.tiles.most), dim3(kThreads), bytes, call);
}

}  // namespace

template <class T>
void bottleneck(Stream stream, const BottleneckSite<T>& call) {
  if (call.tiles.most == 0) return;
  if (call.hidden <= 4 * kWarpRowFeatures) {
    launch_for<T, 4>(stream, call);
  } else if (call.hidden <= 6 * kWarpRowFeatures) {
    launch_for<T, 6>(stream, call);
  } else {
    launch_for<T, 8>(stream, call);
  }
}

template <class T>
size_t bottleneck_shared_bytes(uint32_t hidden, uint32_t most_inner) {
  return Shared<T>::bytes(hidden, most_inner);
}

template size_t bottleneck_shared_bytes<float>(uint32_t, uint32_t);
template size_t bottleneck_shared_bytes<Half>(uint32_t, uint32_t);
template size_t bottleneck_shared_bytes<BFloat16>(uint32_t, uint32_t);
template void bottleneck(Stream, const BottleneckSite<float>&);
template void bottleneck(Stream, const BottleneckSite<Half>&);
template void bottleneck(Stream, const BottleneckSite<BFloat16>&);

}  // namespace pets::kernels::cuda
