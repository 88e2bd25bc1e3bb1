#include "kernels/mask/mask_cuda.h"

#include "kernels/cuda/row_tile.h"

namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarps = 4;  // a panel of 16 columns each: many blocks, as a batch has few tiles
constexpr unsigned kThreads = kWarps * kWarpSize;
constexpr unsigned kStepBytes = 128;  // of a column's weights at once: what eight lanes load, and, padded, free of bank conflicts
constexpr unsigned kStepVectors = kStepBytes / kVectorBytes;
constexpr unsigned kStepColumns = kWarpSize / kStepVectors;  // that a warp loads together
constexpr unsigned kLoads = kTile / kStepColumns;
constexpr unsigned kPlaneBits = 32;      // inputs of a word of the planes
constexpr unsigned kProductStride = 24;  // of a warp's 16 x 16 floats: rows that lanes store together begin at different banks
constexpr unsigned kWeightBytes = kTile * (kStepBytes + kVectorBytes);  // of a warp; its product lies there in the end
static_assert(kInputBytes % 32 == 0 && kWeightBytes % 32 == 0 && kTile * kProductStride * sizeof(float) <= kWeightBytes);

/// Orin's shared memory holds six blocks. Products in float, without tensor cores, need more registers than six leave a thread.
template <class T>
constexpr unsigned kBlocksPerSm = sizeof(T) == sizeof(float) ? 4 : 6;

/// The values of a word of weights whose bits in `keep`, from the highest, are set; the bits of +0 for the others.
template <class T>
__device__ unsigned kept(unsigned values, unsigned keep) {
  constexpr unsigned kFirst = 1U << (kPlaneBits - 1);
  if constexpr (sizeof(T) == sizeof(unsigned)) {
    return (keep & kFirst) != 0 ? values : 0;
  } else {
    values = (keep & kFirst) != 0 ? values : values & 0xFFFF0000;
    return (keep & kFirst >> 1) != 0 ? values : values & 0x0000FFFF;
  }
}

/// A lane's part of a step's weights and the plane bits that they begin with, in registers while the step before is multiplied.
template <class T>
struct Weights {
  uint4 values[kLoads] = {};
  unsigned keep[kLoads] = {};

  /// Of one panel. lane: which part; its columns are lane / kStepVectors + i * kStepColumns.
  __device__ void load(const T* weight, const uint32_t* planes, unsigned in, unsigned first, unsigned lane) {
    const unsigned k = first + lane % kStepVectors * Vector<T>::kValues;
    if (k >= in) return;
#pragma unroll
    for (unsigned i = 0; i < kLoads; ++i) {
      const unsigned column = lane / kStepVectors + i * kStepColumns;
      values[i] = __ldg(reinterpret_cast<const uint4*>(weight + column * in + k));
      keep[i] = __ldg(planes + k / kPlaneBits * kTile + column) << k % kPlaneBits;
    }
  }

  /// to: [16][kStepBytes + kVectorBytes]
  __device__ void store_kept(T* to, unsigned lane) const {
    constexpr unsigned kValues = Vector<T>::kValues, kWordValues = sizeof(unsigned) / sizeof(T);
#pragma unroll
    for (unsigned i = 0; i < kLoads; ++i) {
      const unsigned column = lane / kStepVectors + i * kStepColumns;
      *reinterpret_cast<uint4*>(to + (column * (kStepVectors + 1) + lane % kStepVectors) * kValues) = {
          kept<T>(values[i].x, keep[i]), kept<T>(values[i].y, keep[i] << kWordValues), kept<T>(values[i].z, keep[i] << 2 * kWordValues),
          kept<T>(values[i].w, keep[i] << 3 * kWordValues)};
    }
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm<T>) mask_kernel(Mask<T> call) {
  if (call.tiles.end_before(blockIdx.x)) return;
  const RowTile tile = call.tiles.tiles[blockIdx.x];
  const uint32_t* planes = call.linears[tile.slot].mask;
  if (planes == nullptr) return;
  const unsigned in = call.in, warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  constexpr unsigned kValues = Vector<T>::kValues, kChunk = kChunkBytes / sizeof(T), kStep = kStepBytes / sizeof(T);
  const T* const x = call.x + static_cast<size_t>(tile.first_row) * in;
  T* const inputs = shared_memory<T>();
  T* const staged = inputs + (kInputBytes + warp * kWeightBytes) / sizeof(T);
  const unsigned column = (blockIdx.y * kWarps + warp) * kTile;
  const bool works = column < call.out;  // the last block's other warps only stage inputs
  const T* const weight = call.weight + static_cast<size_t>(column) * in;
  planes += column * ((in + kPlaneBits - 1) / kPlaneBits);

  WarpTile<T> sums;
  Weights<T> weights;
  if (works) weights.load(weight, planes, in, 0, lane);
  for (unsigned chunk = 0; chunk < in; chunk += kChunk) {
    const unsigned end = in - chunk < kChunk ? in : chunk + kChunk;
    __syncthreads();
    stage_inputs<kThreads>(x, in, tile.rows, chunk, inputs);
    __syncthreads();
    for (unsigned first = chunk; works && first < end; first += kStep) {
      weights.store_kept(staged, lane);
      __syncwarp();
      weights.load(weight, planes, in, first + kStep, lane);
#pragma unroll
      for (unsigned k = 0; k < kStep; k += kTile) {
        if (first + k < in) sums.multiply_add(inputs + first - chunk + k, kChunk + kValues, staged + k, kStep + kValues);
      }
      __syncwarp();
    }
  }
  if (!works) return;

  auto* const product = reinterpret_cast<float*>(staged);
  sums.store(product, kProductStride);
  __syncwarp();
  T* const y = call.y + static_cast<size_t>(tile.first_row) * call.out_stride + column + lane % kTile;
#pragma unroll
  for (unsigned row = lane / kTile; row < kTile; row += kWarpSize / kTile) {
    if (row < tile.rows) y[row * call.out_stride] = from_float<T>(product[row * kProductStride + lane % kTile]);
  }
}

}  // namespace

template <class T>
void mask(Stream stream, const Mask<T>& call) {
  if (call.tiles.most == 0) return;
  if (call.sites > 1) {
    for (uint32_t site = 0; site < call.sites; ++site) {
      Mask<T> one = call;
      one.sites = 1;
      one.weight += static_cast<size_t>(site) * call.out * call.in;
      one.y += site * call.out;
      one.linears.operators += site;
      mask(stream, one);
    }
    return;
  }
  constexpr unsigned kColumns = kWarps * kTile;
  const dim3 grid(call.tiles.most, (call.out + kColumns - 1) / kColumns);
  launch(stream, mask_kernel<T>, grid, dim3(kThreads), kInputBytes + kWarps * kWeightBytes, call);
}

template void mask(Stream, const Mask<float>&);
template void mask(Stream, const Mask<Half>&);
template void mask(Stream, const Mask<BFloat16>&);

}  // namespace pets::kernels::cuda
