#include "kernels/low_rank/low_rank_cuda.h"

#include "kernels/cuda/warp_operand.h"

// A block's work is small and all of its time is waiting for memory, so everything is asked for as early as it can be, and where the code
// says so (load_ahead): rows before the tables say what to multiply them with, the first columns' factors before the sums of Z are made.
// L2's bandwidth is what remains, 20 MB for 32 tasks of 64 rows at BERT-base's query and value, two thirds of it y.
namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarps = 8;  // they share the inputs of Z, then the columns of y
constexpr unsigned kThreads = kWarps * kWarpSize;
constexpr unsigned kRowTiles = kLowRankTileRows / kTile;
constexpr unsigned kPairs = WarpSums::kOwn / 2;  // neighbouring sums of a lane

// BERT-base's 768 inputs are three operands a warp; with three, 16 bytes spill on sm_87.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr unsigned kShortSteps = 2;
#else
constexpr unsigned kShortSteps = 3;
#endif

/// What fits into the 128 registers of each thread that two blocks of a multiprocessor have. float, whose products are made of shuffles, is
/// not the type to be fast.
template <class T>
struct Ahead {
  static constexpr bool kShort = sizeof(T) < sizeof(float);
  static constexpr unsigned kBlocks = kShort ? 2 : 1;
  static constexpr unsigned kSteps = kShort ? kShortSteps : 1;  ///< operands of Z that are loaded at once
  static constexpr unsigned kTiles = kShort ? 2 : 1;            ///< columns of y, 16 each, that are loaded at once
  static constexpr unsigned kRankTiles = 1;                     ///< tiles of Z that a warp sums at once
};

/// Of all warps: sums of Z by parts of the inputs, pairs in the order of lanes.
template <class T>
constexpr size_t kPartBytes = size_t{kWarps} * kRowTiles* Ahead<T>::kRankTiles* kPairs* kWarpSize * 2 * sizeof(float);

template <class T>
size_t shared_bytes(unsigned most_rank) {
  return kPartBytes<T> + size_t{kLowRankTileRows} * operand_stride<T>(most_rank) * sizeof(T);
}

/// One of 2 * kPairs neighbouring columns of y, two values: of a lane.
template <class T>
__device__ __forceinline__ StoredPair<T>* pair_of(T* y, unsigned stride, unsigned row_tile, unsigned pair) {
  return reinterpret_cast<StoredPair<T>*>(y + (row_tile * kTile + WarpSums::row(2 * pair)) * stride + WarpSums::column(2 * pair));
}

template <class T>
__global__ void __launch_bounds__(kThreads, Ahead<T>::kBlocks) low_rank_kernel(LowRank<T> call) {
  constexpr unsigned kRankTiles = Ahead<T>::kRankTiles, kStepsAhead = Ahead<T>::kSteps, kTilesAhead = Ahead<T>::kTiles;
  follow_earlier_launches();
  if (call.tiles.end_before(blockIdx.x)) return;
  const RowTile tile = call.tiles.tiles[blockIdx.x];
  const unsigned in = call.in, rows = tile.rows, warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  const unsigned row_tiles = rows > kTile ? kRowTiles : 1;
  const T* const x = call.x + static_cast<size_t>(tile.first_row) * in;
  T* const y = call.y + static_cast<size_t>(tile.first_row) * call.out_stride + blockIdx.y * call.out;
  float* const parts = shared_memory<float>();
  T* const z = shared_memory<T>() + kPartBytes<T> / sizeof(T);
  const unsigned z_stride = operand_stride<T>(call.most_rank);

  WarpOperand<T> left[kRowTiles][kStepsAhead];
  const auto load_left = [&](unsigned step) {
    step = opaque(step);
#pragma unroll
    for (unsigned i = 0; i < kStepsAhead; ++i) {
      const unsigned at = step + i * kWarps * kDepth, depth = at < in ? in - at : 0;
#pragma unroll
      for (unsigned m = 0; m < kRowTiles; ++m) {
        left[m][i].template load_ahead<false>(x + m * kTile * in + at, in, rows > m * kTile ? rows - m * kTile : 0, depth);
      }
    }
  };
  load_left(warp * kDepth);
  const TaskLinear& linear = (&call.linears[tile.slot])[blockIdx.y];
  const T* const a = static_cast<const T*>(linear.low_rank_a);
  const T* const b = static_cast<const T*>(linear.low_rank_b);
  const unsigned rank = linear.rank;
  if (a == nullptr) return;

  // A group of columns is every gridDim.z-th tile of them for each warp.
  const unsigned first_column = (blockIdx.z * kWarps + warp) * kTile, next_column = gridDim.z * kWarps * kTile;
  WarpOperand<T> factors[kTilesAhead];
  HeldPair<T> values[kTilesAhead][kRowTiles][kPairs];
  const auto load_factors = [&](unsigned first) {
    first = opaque(first);
#pragma unroll
    for (unsigned i = 0; i < kTilesAhead; ++i) {
      const unsigned column = first + i * next_column;
      factors[i].load_ahead(b + static_cast<size_t>(column) * rank, rank, column < call.out ? kTile : 0, rank);
    }
  };
  const auto load_values = [&](unsigned first) {
    first = opaque(first);
#pragma unroll
    for (unsigned i = 0; i < kTilesAhead; ++i) {
      const unsigned column = first + i * next_column;
#pragma unroll
      for (unsigned m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (unsigned p = 0; p < kPairs; ++p) {
          const bool there = column < call.out && m * kTile + WarpSums::row(2 * p) < rows;
          values[i][m][p].load(pair_of(y + column, call.out_stride, m, p), there);
        }
      }
    }
  };

  for (unsigned first = 0; first < rank; first += kRankTiles * kTile) {
    const unsigned rank_tiles = rank - first < kRankTiles * kTile ? (rank - first) / kTile : kRankTiles;
    WarpSums sums[kRowTiles][kRankTiles];
    for (unsigned step = warp * kDepth; step < in; step += kStepsAhead * kWarps * kDepth) {
      if (first != 0 || step >= kStepsAhead * kWarps * kDepth) load_left(step);
#pragma unroll
      for (unsigned n = 0; n < kRankTiles; ++n) {
        if (n >= rank_tiles) break;
        // Two of its operands at once: with three, sm_87 has no registers.
        constexpr unsigned kRight = kStepsAhead < 2 ? 1 : 2;
        WarpOperand<T> right[kRight];
        const auto load_right = [&](unsigned i) {
          const unsigned at = opaque(step) + i * kWarps * kDepth;
          right[i % kRight].load_ahead(a + static_cast<size_t>(first + n * kTile) * in + at, in, kTile, at < in ? in - at : 0);
        };
#pragma unroll
        for (unsigned i = 0; i < kRight; ++i) load_right(i);
#pragma unroll
        for (unsigned i = 0; i < kStepsAhead; ++i) {
#pragma unroll
          for (unsigned m = 0; m < kRowTiles; ++m) {
            if (m < row_tiles) multiply_add(sums[m][n], left[m][i], right[i % kRight]);
          }
          if (i + kRight < kStepsAhead) load_right(i + kRight);
        }
      }
    }
    auto* const pairs = reinterpret_cast<StoredPair<float>*>(parts);
#pragma unroll
    for (unsigned m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (unsigned n = 0; n < kRankTiles; ++n) {
        if (m >= row_tiles || n >= rank_tiles) continue;
#pragma unroll
        for (unsigned p = 0; p < kPairs; ++p) {
          pairs[(((warp * kRowTiles + m) * kRankTiles + n) * kPairs + p) * kWarpSize + lane] = {
              {sums[m][n].values[2 * p], sums[m][n].values[2 * p + 1]}};
        }
      }
    }
    if (first + kRankTiles * kTile >= rank) {
      load_factors(first_column);
      load_values(first_column);
    }
    __syncthreads();
    // A warp adds one pair of each lane.
    for (unsigned i = warp; i < row_tiles * rank_tiles * kPairs; i += kWarps) {
      const unsigned p = i % kPairs, n = i / kPairs % rank_tiles, m = i / kPairs / rank_tiles;
      StoredPair<float> sum = {};
#pragma unroll
      for (unsigned w = 0; w < kWarps; ++w) {
        const StoredPair<float> part = pairs[(((w * kRowTiles + m) * kRankTiles + n) * kPairs + p) * kWarpSize + lane];
        sum.values[0] += part.values[0];
        sum.values[1] += part.values[1];
      }
      const StoredPair<T> rounded = {{from_float<T>(sum.values[0]), from_float<T>(sum.values[1])}};
      *pair_of(z + first + n * kTile, z_stride, m, p) = rounded;
    }
    __syncthreads();
  }

  for (unsigned first = first_column; first < call.out; first += kTilesAhead * next_column) {
    if (first != first_column) {
      load_factors(first);
      load_values(first);
    }
#pragma unroll
    for (unsigned i = 0; i < kTilesAhead; ++i) {
      const unsigned column = opaque(first) + i * next_column;
      if (column >= call.out) break;
#pragma unroll
      for (unsigned m = 0; m < kRowTiles; ++m) {
        if (m >= row_tiles) break;
        WarpSums sums;
        for (unsigned depth = 0; depth < rank; depth += kDepth) {
          WarpOperand<T> own, more;
          own.load(z + m * kTile * z_stride + depth, z_stride, kTile, rank - depth);
          if (depth == 0) {
            multiply_add(sums, own, factors[i]);
          } else {
            more.load(b + static_cast<size_t>(column) * rank + depth, rank, kTile, rank - depth);
            multiply_add(sums, own, more);
          }
        }
#pragma unroll
        for (unsigned p = 0; p < kPairs; ++p) {
          const StoredPair<T> before = values[i][m][p].get();
          const StoredPair<T> sum = {{from_float<T>(to_float(before.values[0]) + sums.values[2 * p]),
                                      from_float<T>(to_float(before.values[1]) + sums.values[2 * p + 1])}};
          if (m * kTile + WarpSums::row(2 * p) < rows) *pair_of(y + column, call.out_stride, m, p) = sum;
        }
      }
    }
  }
}

}  // namespace

template <class T>
void low_rank(Stream stream, const LowRank<T>& call) {
  if (call.tiles.most == 0 || call.most_rank == 0) return;
  // Every group of columns makes Z anew, which costs as much as `in` columns of y do: groups of at least so many columns.
  const unsigned groups = call.out / call.in;
  const dim3 grid(call.tiles.most, call.sites, groups < 1 ? 1 : groups);
  const size_t bytes = shared_bytes<T>(call.most_rank);
  allow_shared_memory(low_rank_kernel<T>, bytes);
  launch(stream, low_rank_kernel<T>, grid, dim3(kThreads), bytes, call);
}

template void low_rank(Stream, const LowRank<float>&);
template void low_rank(Stream, const LowRank<Half>&);
template void low_rank(Stream, const LowRank<BFloat16>&);

}  // namespace pets::kernels::cuda
