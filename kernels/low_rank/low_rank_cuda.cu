#include "kernels/low_rank/low_rank_cuda.h"

#include "kernels/cuda/warp_operand.h"

// A block's work is small and all of its time is waiting for memory, so everything is asked for as early as it can be: the first columns'
// factors and their part of y before the sums of Z are exchanged.
namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarps = 8;  // they share the inputs of Z, then the columns of y
constexpr unsigned kThreads = kWarps * kWarpSize;
constexpr unsigned kRankTiles = 4;    // tiles of Z that a warp sums at once: 32 registers of sums
constexpr unsigned kStepsAhead = 3;   // operands of Z that are loaded at once: BERT-base's 768 inputs are three a warp
constexpr unsigned kTilesAhead = 2;   // columns of y, 16 each, that are loaded at once: with three, 12 registers too many
constexpr unsigned kZPadding = 8;     // rows begin in different banks
constexpr unsigned kPartPadding = 4;  // floats, likewise

/// Of a warp's part of Z.
__host__ __device__ constexpr unsigned part_stride(unsigned most_rank) {
  return (most_rank < kRankTiles * kTile ? most_rank : kRankTiles * kTile) + kPartPadding;
}

template <class T>
size_t shared_bytes(unsigned most_rank) {
  return kTile * ((most_rank + kZPadding) * sizeof(T) + kWarps * part_stride(most_rank) * sizeof(float));
}

/// 16 columns of y on their way: the first part of the depth of their factors, and what is in y.
template <class T>
struct Columns {
  WarpOperand<T> factors;
  StoredPair<T> y[WarpSums::kOwn / 2];

  __device__ __forceinline__ void load(const T* b, unsigned rank, const T* from, unsigned stride, unsigned rows) {
    factors.load(b, rank, kTile, rank);
#pragma unroll
    for (unsigned i = 0; i < WarpSums::kOwn / 2; ++i) {
      y[i] = {};
      const unsigned row = WarpSums::row(2 * i);
      if (row < rows) y[i] = *reinterpret_cast<const StoredPair<T>*>(from + row * stride + WarpSums::column(2 * i));
    }
  }
};

/// Of a multiprocessor, that registers must allow. float, whose products are made of shuffles, is not the type to be fast.
template <class T>
constexpr unsigned kBlocks = sizeof(T) == sizeof(float) ? 1 : 2;

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks<T>) low_rank_kernel(LowRank<T> call) {
  follow_earlier_launches();
  if (call.tiles.end_before(blockIdx.x)) return;
  const RowTile tile = call.tiles.tiles[blockIdx.x];
  const TaskLinear& linear = (&call.linears[tile.slot])[blockIdx.y];
  const T* const a = static_cast<const T*>(linear.low_rank_a);
  const T* const b = static_cast<const T*>(linear.low_rank_b);
  if (a == nullptr) return;
  const unsigned rank = linear.rank, in = call.in, rows = tile.rows, warp = threadIdx.x / kWarpSize;
  const T* const x = call.x + static_cast<size_t>(tile.first_row) * in;
  T* const y = call.y + static_cast<size_t>(tile.first_row) * call.out_stride + blockIdx.y * call.out;
  T* const z = shared_memory<T>();
  const unsigned z_stride = call.most_rank + kZPadding, stride = part_stride(call.most_rank);
  float* const parts = reinterpret_cast<float*>(z + kTile * z_stride);

  // A group of columns is every gridDim.z-th tile of them for each warp.
  const unsigned first_column = (blockIdx.z * kWarps + warp) * kTile, next_column = gridDim.z * kWarps * kTile;
  Columns<T> columns[kTilesAhead];
  const auto load_columns = [&](unsigned first) {
#pragma unroll
    for (unsigned i = 0; i < kTilesAhead; ++i) {
      const unsigned column = first + i * next_column;
      if (column < call.out) columns[i].load(b + column * rank, rank, y + column, call.out_stride, rows);
    }
  };

  for (unsigned first = 0; first < rank; first += kRankTiles * kTile) {
    const unsigned count = rank - first < kRankTiles * kTile ? rank - first : kRankTiles * kTile;
    WarpSums sums[kRankTiles];
    for (unsigned step = warp * kDepth; step < in; step += kStepsAhead * kWarps * kDepth) {
      WarpOperand<T> left[kStepsAhead];
#pragma unroll
      for (unsigned i = 0; i < kStepsAhead; ++i) {
        const unsigned at = step + i * kWarps * kDepth;
        left[i].load(x + at, in, rows, at < in ? in - at : 0);
      }
#pragma unroll
      for (unsigned n = 0; n < kRankTiles; ++n) {
        if (n * kTile >= count) break;
        WarpOperand<T> right[kStepsAhead];
#pragma unroll
        for (unsigned i = 0; i < kStepsAhead; ++i) {
          const unsigned at = step + i * kWarps * kDepth;
          right[i].load(a + (first + n * kTile) * in + at, in, kTile, at < in ? in - at : 0);
        }
#pragma unroll
        for (unsigned i = 0; i < kStepsAhead; ++i) multiply_add(sums[n], left[i], right[i]);
      }
    }
    if (first + kRankTiles * kTile >= rank) load_columns(first_column);
#pragma unroll
    for (unsigned n = 0; n < kRankTiles; ++n) {
      if (n * kTile >= count) break;
#pragma unroll
      for (unsigned i = 0; i < WarpSums::kOwn; ++i) {
        parts[(warp * kTile + WarpSums::row(i)) * stride + n * kTile + WarpSums::column(i)] = sums[n].values[i];
      }
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < kTile * count; i += kThreads) {
      const unsigned row = i % kTile, column = i / kTile;
      float sum = 0;
#pragma unroll
      for (unsigned w = 0; w < kWarps; ++w) sum += parts[(w * kTile + row) * stride + column];
      z[row * z_stride + first + column] = from_float<T>(sum);
    }
    __syncthreads();
  }

  for (unsigned first = first_column; first < call.out; first += kTilesAhead * next_column) {
#pragma unroll
    for (unsigned n = 0; n < kTilesAhead; ++n) {
      const unsigned column = first + n * next_column;
      if (column >= call.out) break;
      WarpSums sums;
      WarpOperand<T> left, right = columns[n].factors;
      for (unsigned depth = 0; depth < rank; depth += kDepth) {
        if (depth != 0) right.load(b + column * rank + depth, rank, kTile, rank - depth);
        left.load(z + depth, z_stride, kTile, rank - depth);
        multiply_add(sums, left, right);
      }
#pragma unroll
      for (unsigned i = 0; i < WarpSums::kOwn / 2; ++i) {
        const unsigned row = WarpSums::row(2 * i);
        const StoredPair<T> sum = {{from_float<T>(to_float(columns[n].y[i].values[0]) + sums.values[2 * i]),
                                    from_float<T>(to_float(columns[n].y[i].values[1]) + sums.values[2 * i + 1])}};
        if (row < rows) *reinterpret_cast<StoredPair<T>*>(y + row * call.out_stride + column + WarpSums::column(2 * i)) = sum;
      }
    }
    load_columns(first + kTilesAhead * next_column);
  }
}

}  // namespace

template <class T>
void low_rank(Stream stream, const LowRank<T>& call) {
  if (call.tiles.most == 0 || call.most_rank == 0) return;
  // Every group of columns makes Z anew, which costs as much as `in` columns of y do: groups of at least so many columns.
  const unsigned groups = call.out / call.in;
  const dim3 grid(call.tiles.most, call.sites, groups < 1 ? 1 : groups);
  launch(stream, low_rank_kernel<T>, grid, dim3(kThreads), shared_bytes<T>(call.most_rank), call);
}

template void low_rank(Stream, const LowRank<float>&);
template void low_rank(Stream, const LowRank<Half>&);
template void low_rank(Stream, const LowRank<BFloat16>&);

}  // namespace pets::kernels::cuda
