#include "kernels/head/head_layer_cuda.h"

#include "kernels/activation/activation_cuda.h"
#include "kernels/cuda/warp_operand.h"

namespace pets::kernels::cuda {
namespace {

// Most heads have 2 to 9 outputs, fewer than a tile's 16: the warps share the inputs, so that all have work, and add their sums in the
// order of the warps. Wide layers get more blocks.
constexpr unsigned kWarps = 8;
constexpr unsigned kThreads = kWarps * kWarpSize;
constexpr unsigned kOutputTiles = 4;                   // that a warp sums at once: 32 registers of sums
constexpr unsigned kOutputs = kOutputTiles * kTile;    // of a block at once
constexpr unsigned kStepsAhead = 3;                    // operands that are loaded at once: BERT-base's 768 inputs are three a warp
constexpr unsigned kPartialStride = kOutputs + 4;      // floats: rows begin in different banks, 16-byte aligned
constexpr unsigned kPartial = kTile * kPartialStride;  // floats of a warp's sums
constexpr unsigned kSharedBytes = kWarps * kPartial * sizeof(float);
constexpr unsigned kMostGroups = 64;  // blocks of a tile: what a launch's grid is bounded by
static_assert(kThreads * kVectorSize >= kTile * kOutputs);

/// Blocks of a multiprocessor that registers must allow: few, since a launch has few blocks and a lane should have many loads of weights in
/// flight.
template <class T>
constexpr unsigned kBlocks = sizeof(T) == sizeof(float) ? 1 : 2;

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks<T>) head_layer_kernel(HeadLayer<T> call) {
  follow_earlier_launches();
  if (blockIdx.x >= *call.rows.tiles.count) return;
  const HeadTile tile = call.rows.tiles.tiles[blockIdx.x];
  const TaskHead& head = call.rows.heads[tile.input.slot];
  const unsigned layers = head.layers;
  if (call.layer >= layers || blockIdx.y * kOutputs >= head.layer[call.layer].out) return;
  const TaskHeadLayer& layer = head.layer[call.layer];
  const unsigned in = layer.in, rows = tile.input.rows, warp = threadIdx.x / kWarpSize;
  // Between layers a tile's rows lie as close as they are wide.
  const size_t inner_begin = static_cast<size_t>(tile.head_row) * call.inner_stride;
  const T* const x = call.layer == 0 ? call.rows.input_of(tile, head) : call.inner_in + inner_begin;
  float* const partial = shared_memory<float>();

  for (unsigned first = blockIdx.y * kOutputs; first < layer.out; first += gridDim.y * kOutputs) {
    const unsigned outputs = layer.out - first < kOutputs ? layer.out - first : kOutputs;
    const T* const weight = static_cast<const T*>(layer.weight) + static_cast<size_t>(first) * in;
    WarpSums sums[kOutputTiles];
    for (unsigned step = warp * kDepth; step < in; step += kStepsAhead * kWarps * kDepth) {
      WarpOperand<T> left[kStepsAhead];
#pragma unroll
      for (unsigned i = 0; i < kStepsAhead; ++i) {
        const unsigned at = step + i * kWarps * kDepth;
        left[i].load(x + at, in, rows, at < in ? in - at : 0);
      }
#pragma unroll
      for (unsigned n = 0; n < kOutputTiles; ++n) {
        if (n * kTile >= outputs) break;
        WarpOperand<T> right[kStepsAhead];
#pragma unroll
        for (unsigned i = 0; i < kStepsAhead; ++i) {
          const unsigned at = step + i * kWarps * kDepth;
          right[i].load(weight + n * kTile * in + at, in, kTile, at < in ? in - at : 0);
        }
#pragma unroll
        for (unsigned i = 0; i < kStepsAhead; ++i) multiply_add(sums[n], left[i], right[i]);
      }
    }
    __syncthreads();  // all have read the sums before
#pragma unroll
    for (unsigned n = 0; n < kOutputTiles; ++n) {
      if (n * kTile >= outputs) break;
#pragma unroll
      for (unsigned i = 0; i < WarpSums::kOwn; ++i) {
        partial[warp * kPartial + WarpSums::row(i) * kPartialStride + n * kTile + WarpSums::column(i)] = sums[n].values[i];
      }
    }
    __syncthreads();

    const unsigned row = threadIdx.x / (kOutputs / kVectorSize), column = threadIdx.x % (kOutputs / kVectorSize) * kVectorSize;
    if (row >= rows || column >= outputs) continue;  // to the next barrier, which all threads reach
    const float* const parts = partial + row * kPartialStride + column;
    Vector8 y = load_vector(parts);
#pragma unroll
    for (unsigned i = 1; i < kWarps; ++i) y = y + load_vector(parts + i * kPartial);
    y = y + load_or(layer.bias, first + column, 0);
    activate(layer.activation, y);
    if (call.layer + 1 < layers) {
      store_vector(call.inner_out + inner_begin + static_cast<size_t>(row) * layer.out + first + column, y);
      continue;
    }
    const LogitPlace place = call.rows.places[tile.head_row + row];
    float* const logits = call.rows.logits + place.begin;
#pragma unroll
    for (unsigned i = 0; i < kVectorSize; ++i) {
      const unsigned output = first + column + i;
      if (output < head.outputs) logits[static_cast<size_t>(output) * place.stride] = y[i];
    }
  }
}

}  // namespace

template <class T>
void head_layer(Stream stream, const HeadLayer<T>& call) {
  if (call.rows.tiles.most == 0) return;
  const unsigned groups = (call.most_out + kOutputs - 1) / kOutputs;
  const dim3 grid(call.rows.tiles.most, groups < 1 ? 1 : groups < kMostGroups ? groups : kMostGroups);
  launch(stream, head_layer_kernel<T>, grid, dim3(kThreads), kSharedBytes, call);
}

template void head_layer(Stream, const HeadLayer<float>&);
template void head_layer(Stream, const HeadLayer<Half>&);
template void head_layer(Stream, const HeadLayer<BFloat16>&);

}  // namespace pets::kernels::cuda
