#include "kernels/bottleneck/bottleneck_cuda.h"

#include "kernels/activation/activation_cuda.h"
#include "kernels/cuda/warp_matrix.h"
#include "kernels/norm/warp_norm_cuda.h"

// One block works on a tile of up to 16 rows, in four steps with a barrier after each:
//   1. A warp a row: the operand of the down product, u or LN(u), rounded to T.
//   2. Down product, 64 inner columns at a time. The warps share the depth (hidden), so that all have work however few columns there are;
//      their sums are added in the order of the warps. Activation, rounded to T: the operand of the up product.
//   3. Up product: the warps share the columns; its sums lie in float where the operand of step 1 lay.
//   4. A warp a row: the rest of the formula. h and r are read again, from L1 or L2, rather than kept in float.
// Sums in float of 16 rows would take twice the operand's memory for 16-bit types: steps 3 and 4 are then done for eight rows at a time,
// which repeats the up product, a small part of the work, and only where the tile has more than eight rows.
namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarps = 4;
constexpr unsigned kThreads = kWarps * kWarpSize;
constexpr unsigned kMostTiles = 4;  // products that a warp has in flight, to cover the loads of weights: 8 registers of sums each
constexpr unsigned kGroup = kMostTiles * kTile;  // their columns
constexpr unsigned kSumsStride = kGroup + 4;     // floats: rows begin in different banks, 16-byte aligned
constexpr unsigned kSums = kTile * kSumsStride;  // floats of a warp's sums
static_assert(kThreads * kVectorSize == kTile * kGroup);

/// Values from row to row of an operand in shared memory: 16 bytes more than its columns, so that rows begin in different banks.
template <class T>
__host__ __device__ constexpr unsigned operand_stride(unsigned columns) {
  return columns + 16 / static_cast<unsigned>(sizeof(T));
}
template <class T>
constexpr unsigned kRowsPerPass = kTile * sizeof(T) / sizeof(float);

/// Shared memory of a block. `products` is where `input` is, with the same stride.
template <class T>
struct Shared {
  T* input;         ///< [16][operand_stride(hidden)]
  float* products;  ///< [kRowsPerPass][operand_stride(hidden)]
  T* inner;         ///< [16][operand_stride(inner)]
  float* sums;      ///< [kWarps][16][kSumsStride]

  __device__ Shared(unsigned hidden, unsigned most_inner)
      : input(shared_memory<T>()),
        products(shared_memory<float>()),
        inner(input + kTile * operand_stride<T>(hidden)),
        sums(reinterpret_cast<float*>(inner + kTile * operand_stride<T>(most_inner))) {}
  static size_t bytes(unsigned hidden, unsigned most_inner) {
    return kTile * (operand_stride<T>(hidden) + operand_stride<T>(most_inner)) * sizeof(T) + kWarps * kSums * sizeof(float);
  }
};

/// What the formula starts from, of one row.
template <class T>
struct RowInputs {
  const T* dense;
  const T* residual;
  const float* bias;
  const float* scale;

  __device__ __forceinline__ Vector8 h(unsigned at) const {
    return fma(load_vector(dense + at), load_or(scale, at, 1), load_vector(bias + at));
  }
  __device__ __forceinline__ Vector8 r(unsigned at) const { return load_vector(residual + at); }
};

template <unsigned kVectors>
__device__ __forceinline__ void normalize(WarpRow<kVectors>& row, unsigned width, const NormParameters& norm) {
  normalize(row, width, norm.gamma, norm.beta, norm.epsilon);
}

/// u of the formula.
template <class T, unsigned kVectors>
__device__ __forceinline__ void load_u(const RowInputs<T>& inputs, const Bottleneck& options, const NormParameters& norm, unsigned width,
                                       WarpRow<kVectors>& u) {
  if (options.parallel) {
    for_each_vector(u, width, [&](Vector8& x, unsigned at) { x = inputs.r(at); });
  } else if (options.original_norm_before) {
    for_each_vector(u, width, [&](Vector8& x, unsigned at) { x = inputs.h(at) + inputs.r(at); });
    normalize(u, width, norm);
  } else {
    for_each_vector(u, width, [&](Vector8& x, unsigned at) { x = inputs.h(at); });
  }
}

/// sums[16][kTiles * 16] = a b over the depths [begin, end): a: [16][lda], b: [columns][ldb].
template <unsigned kTiles, class T>
__device__ __forceinline__ void multiply_tiles(const T* a, unsigned lda, const T* b, unsigned ldb, unsigned begin, unsigned end,
                                               float* sums) {
  WarpTile<T> tiles[kTiles];
  for (unsigned k = begin; k < end; k += kTile) {
#pragma unroll
    for (unsigned t = 0; t < kTiles; ++t) tiles[t].multiply_add(a + k, lda, b + static_cast<size_t>(t * kTile) * ldb + k, ldb);
  }
#pragma unroll
  for (unsigned t = 0; t < kTiles; ++t) tiles[t].store(sums + t * kTile, kSumsStride);
}
/// The same for 1 to kMostTiles tiles: known counts keep the sums in registers and the loads together. Float, which has no tensor cores
/// here, needs the registers of several tiles for one.
template <class T>
__device__ __forceinline__ void multiply_group(unsigned tiles, const T* a, unsigned lda, const T* b, unsigned ldb, unsigned begin,
                                               unsigned end, float* sums) {
  if constexpr (sizeof(T) == sizeof(float)) {
    for (unsigned t = 0; t < tiles; ++t) {
      multiply_tiles<1>(a, lda, b + static_cast<size_t>(t * kTile) * ldb, ldb, begin, end, sums + t * kTile);
    }
  } else {
    static_assert(kMostTiles == 4);
    switch (tiles) {
      case 1:
        return multiply_tiles<1>(a, lda, b, ldb, begin, end, sums);
      case 2:
        return multiply_tiles<2>(a, lda, b, ldb, begin, end, sums);
      case 3:
        return multiply_tiles<3>(a, lda, b, ldb, begin, end, sums);
      default:
        return multiply_tiles<4>(a, lda, b, ldb, begin, end, sums);
    }
  }
}
__device__ __forceinline__ unsigned tiles_from(unsigned column, unsigned columns) {
  const unsigned left = (columns - column) / kTile;
  return left < kMostTiles ? left : kMostTiles;
}

/// Step 2. Ends with a barrier.
template <class T>
__device__ __forceinline__ void down_product(const TaskBottleneck& task, unsigned hidden, const Shared<T>& shared) {
  const unsigned warp = threadIdx.x / kWarpSize, depths = hidden / kTile;
  const unsigned begin = depths * warp / kWarps * kTile, end = depths * (warp + 1) / kWarps * kTile;
  const unsigned row = threadIdx.x / (kGroup / kVectorSize), column = threadIdx.x % (kGroup / kVectorSize) * kVectorSize;
  for (unsigned first = 0; first < task.inner; first += kGroup) {
    const unsigned tiles = tiles_from(first, task.inner);
    multiply_group(tiles, shared.input, operand_stride<T>(hidden), static_cast<const T*>(task.down) + static_cast<size_t>(first) * hidden,
                   hidden, begin, end, shared.sums + warp * kSums);
    __syncthreads();
    if (column < tiles * kTile) {
      const float* const sums = shared.sums + row * kSumsStride + column;
      Vector8 x = load_vector(sums);
#pragma unroll
      for (unsigned w = 1; w < kWarps; ++w) x = x + load_vector(sums + w * kSums);
      x = x + load_or(task.options.down_bias, first + column, 0);
      activate(task.options.activation, x);
      store_vector(shared.inner + row * operand_stride<T>(task.inner) + first + column, x);
    }
    __syncthreads();
  }
}

/// Step 3 for the rows [first_row, first_row + kRowsPerPass) of the tile. Ends with a barrier.
template <class T>
__device__ __forceinline__ void up_product(const TaskBottleneck& task, unsigned hidden, unsigned first_row, const Shared<T>& shared) {
  const unsigned warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  float* const sums = shared.sums + warp * kSums;
  for (unsigned first = warp * kGroup; first < hidden; first += kWarps * kGroup) {
    const unsigned tiles = tiles_from(first, hidden);
    multiply_group(tiles, shared.inner, operand_stride<T>(task.inner),
                   static_cast<const T*>(task.up) + static_cast<size_t>(first) * task.inner, task.inner, 0, task.inner, sums);
    __syncwarp();
    for (unsigned i = lane; i < kRowsPerPass<T> * kGroup / kVectorSize; i += kWarpSize) {
      const unsigned row = i / (kGroup / kVectorSize), column = i % (kGroup / kVectorSize) * kVectorSize;
      if (column >= tiles * kTile) continue;
      store_stored(shared.products + row * operand_stride<T>(hidden) + first + column,
                   load_stored(sums + (first_row + row) * kSumsStride + column));
    }
    __syncwarp();
  }
  __syncthreads();
}

/// Step 4 for one row. `product`: its row of the up product, overwritten; `result` is the row that inputs.r() reads, each lane its own
/// features.
template <class T, unsigned kVectors>
__device__ __forceinline__ void finish_row(const RowInputs<T>& inputs, const Bottleneck& options, const NormParameters& norm,
                                           unsigned width, float* product, T* result) {
  WarpRow<kVectors> o;
  for_each_vector(o, width, [&](Vector8& x, unsigned at) {
    x = (load_vector(product + at) + load_or(options.up_bias, at, 0)) * load_or(options.channel_scaling, at, options.scaling);
  });
  const bool norm_of_sum = !options.parallel && options.adapter_residual_before_norm;
  const bool norm_after = options.norm_after.gamma != nullptr;
  if (norm_after && !norm_of_sum) normalize(o, width, options.norm_after);
  if (options.parallel || options.residual_before_norm == ResidualBeforeNorm::kBase) {
    for_each_vector(o, width, [&](Vector8& x, unsigned at) { x = x + inputs.h(at); });
  } else if (options.residual_before_norm == ResidualBeforeNorm::kPostAdd) {
    for_each_vector(o, width, [&](Vector8& x, unsigned at) { x = x + (inputs.h(at) + inputs.r(at)); });
  } else {
    // u needs the registers for itself.
    for_each_vector(o, width, [&](const Vector8& x, unsigned at) { store_vector(product + at, x); });
    load_u(inputs, options, norm, width, o);
    for_each_vector(o, width, [&](Vector8& x, unsigned at) { x = load_vector(product + at) + x; });
  }
  if (norm_after && norm_of_sum) normalize(o, width, options.norm_after);
  if (options.original_norm_after) {
    for_each_vector(o, width, [&](Vector8& x, unsigned at) { x = x + inputs.r(at); });
    normalize(o, width, norm);
  }
  for_each_vector(o, width, [&](const Vector8& x, unsigned at) { store_vector(result + at, x); });
}

/// Blocks of a multiprocessor that the registers must allow: as many as its shared memory does, about. A fourth block of the widest rows
/// spills on sm_110.
template <unsigned kVectors>
constexpr unsigned kBlocks = kVectors > 2 ? 3 : 4;

template <class T, unsigned kVectors>
__global__ void __launch_bounds__(kThreads, kBlocks<kVectors>) bottleneck_kernel(BottleneckSite<T> call) {
  if (call.tiles.end_before(blockIdx.x)) return;
  const RowTile tile = call.tiles.tiles[blockIdx.x];
  const TaskBottleneck& task = call.bottlenecks[tile.slot];
  if (task.down == nullptr) return;
  const Bottleneck& options = task.options;
  const TaskNorm& task_norm = call.norms[tile.slot].gamma != nullptr ? call.norms[tile.slot] : call.norm;
  const NormParameters norm{task_norm.gamma, task_norm.beta, call.epsilon};
  const TaskLinear& linear = call.linears[tile.slot];
  const unsigned warp = threadIdx.x / kWarpSize, width = call.hidden;
  const Shared<T> shared(width, call.most_inner);
  const auto offset_of = [&](unsigned row) { return static_cast<size_t>(tile.first_row + row) * width; };
  const auto inputs_of = [&](unsigned row) {
    return RowInputs<T>{call.dense + offset_of(row), call.residual + offset_of(row), linear.bias != nullptr ? linear.bias : call.bias,
                        linear.scale_output};
  };

  for (unsigned row = warp; row < kTile; row += kWarps) {
    T* const input = shared.input + row * operand_stride<T>(width);
    WarpRow<kVectors> u;
    if (row < tile.rows) {
      load_u(inputs_of(row), options, norm, width, u);
      if (options.norm_before.gamma != nullptr) normalize(u, width, options.norm_before);
    } else {
      for_each_vector(u, width, [](Vector8& x, unsigned) { x = constant_vector(0); });
    }
    for_each_vector(u, width, [&](const Vector8& x, unsigned at) { store_vector(input + at, x); });
  }
  __syncthreads();
  down_product(task, width, shared);
  for (unsigned first = 0; first < tile.rows; first += kRowsPerPass<T>) {
    if (first != 0) __syncthreads();  // all have read the products of the pass before
    up_product(task, width, first, shared);
    for (unsigned row = warp; row < kRowsPerPass<T> && first + row < tile.rows; row += kWarps) {
      finish_row<T, kVectors>(inputs_of(first + row), options, norm, width, shared.products + row * operand_stride<T>(width),
                              call.residual + offset_of(first + row));
    }
  }
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
  if (call.hidden <= 2 * kWarpRowFeatures) {
    launch_for<T, 2>(stream, call);
  } else {
    launch_for<T, 4>(stream, call);
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
