#include "kernels/low_rank/low_rank_cuda.h"

#include "kernels/cuda/row_tile.h"

namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarps = 4;  // they share the inputs of Z, then the columns of y; one a scheduler of an SM
constexpr unsigned kThreads = kWarps * kWarpSize;
constexpr unsigned kRankTiles = 4;       // tiles of Z that a warp sums at once: 32 registers of sums
constexpr unsigned kProductStride = 24;  // of a warp's 16 x 16 floats: rows that lanes store together begin at different banks
constexpr unsigned kPartialStride = kRankTiles * kTile + 8;  // likewise
constexpr unsigned kPartialBytes = kWarps * kTile * kPartialStride * sizeof(float);
// Inputs, then the warps' parts of Z, then the warps' products: never two of them at once.
constexpr unsigned kScratchBytes = kInputBytes < kPartialBytes ? kPartialBytes : kInputBytes;
static_assert(kScratchBytes % 32 == 0 && kWarps * kTile * kProductStride * sizeof(float) <= kScratchBytes);

template <class T>
__host__ __device__ constexpr unsigned z_stride(unsigned most_rank) {
  return most_rank + Vector<T>::kValues;
}

template <class T>
__global__ void __launch_bounds__(kThreads) low_rank_kernel(LowRank<T> call) {
  if (call.tiles.end_before(blockIdx.x)) return;
  const RowTile tile = call.tiles.tiles[blockIdx.x];
  const TaskLinear& linear = call.linears[tile.slot];
  const T* const a = static_cast<const T*>(linear.low_rank_a);
  const T* const b = static_cast<const T*>(linear.low_rank_b);
  if (a == nullptr) return;
  const unsigned rank = linear.rank, in = call.in, warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  constexpr unsigned kChunk = kChunkBytes / sizeof(T), kInputStride = kChunk + Vector<T>::kValues;
  const T* const x = call.x + static_cast<size_t>(tile.first_row) * in;
  T* const inputs = shared_memory<T>();
  float* const scratch = shared_memory<float>();
  T* const z = inputs + kScratchBytes / sizeof(T);
  const unsigned stride = z_stride<T>(call.most_rank);

  for (unsigned first = 0; first < rank; first += kRankTiles * kTile) {
    const unsigned columns = rank - first < kRankTiles * kTile ? rank - first : kRankTiles * kTile;
    WarpTile<T> sums[kRankTiles];
    for (unsigned chunk = 0; chunk < in; chunk += kChunk) {
      const unsigned count = in - chunk < kChunk ? in - chunk : kChunk;
      __syncthreads();
      stage_inputs<kThreads>(x, in, tile.rows, chunk, inputs);
      __syncthreads();
      for (unsigned k = warp * kTile; k < count; k += kWarps * kTile) {
#pragma unroll
        for (unsigned i = 0; i < kRankTiles; ++i) {
          if (i * kTile < columns) sums[i].multiply_add(inputs + k, kInputStride, a + (first + i * kTile) * in + chunk + k, in);
        }
      }
    }
    __syncthreads();
#pragma unroll
    for (unsigned i = 0; i < kRankTiles; ++i) {
      if (i * kTile < columns) sums[i].store(scratch + warp * kTile * kPartialStride + i * kTile, kPartialStride);
    }
    __syncthreads();
    constexpr unsigned kThreadsPerRow = kThreads / kTile;
    const unsigned row = threadIdx.x / kThreadsPerRow;
    for (unsigned column = threadIdx.x % kThreadsPerRow; column < columns; column += kThreadsPerRow) {
      float sum = 0;
#pragma unroll
      for (unsigned i = 0; i < kWarps; ++i) sum += scratch[(i * kTile + row) * kPartialStride + column];
      z[row * stride + first + column] = from_float<T>(sum);
    }
  }
  __syncthreads();

  float* const product = scratch + warp * kTile * kProductStride;
  constexpr unsigned kRowsAtOnce = kWarpSize / kTile, kLaneValues = kTile / kRowsAtOnce;
  for (unsigned column = (blockIdx.y * kWarps + warp) * kTile; column < call.out; column += gridDim.y * kWarps * kTile) {
    T* const y = call.y + static_cast<size_t>(tile.first_row) * call.out_stride + column + lane % kTile;
    T values[kLaneValues] = {};  // asked for before the products, which take as long as they do
#pragma unroll
    for (unsigned i = 0; i < kLaneValues; ++i) {
      const unsigned row = i * kRowsAtOnce + lane / kTile;
      if (row < tile.rows) values[i] = y[row * call.out_stride];
    }
    WarpTile<T> sums;
    for (unsigned k = 0; k < rank; k += kTile) sums.multiply_add(z + k, stride, b + column * rank + k, rank);
    sums.store(product, kProductStride);
    __syncwarp();
#pragma unroll
    for (unsigned i = 0; i < kLaneValues; ++i) {
      const unsigned row = i * kRowsAtOnce + lane / kTile;
      if (row < tile.rows) y[row * call.out_stride] = from_float<T>(to_float(values[i]) + product[row * kProductStride + lane % kTile]);
    }
    __syncwarp();
  }
}

}  // namespace

template <class T>
void low_rank(Stream stream, const LowRank<T>& call) {
  if (call.tiles.most == 0 || call.most_rank == 0) return;
  // Every group of columns makes Z anew, which costs as much as `in` columns of y do: groups of at least so many columns.
  const unsigned groups = call.out / call.in;
  const dim3 grid(call.tiles.most, groups < 1 ? 1 : groups);
  launch(stream, low_rank_kernel<T>, grid, dim3(kThreads), kScratchBytes + kTile * z_stride<T>(call.most_rank) * sizeof(T), call);
}

template void low_rank(Stream, const LowRank<float>&);
template void low_rank(Stream, const LowRank<Half>&);
template void low_rank(Stream, const LowRank<BFloat16>&);

}  // namespace pets::kernels::cuda
