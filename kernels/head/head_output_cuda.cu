#include "kernels/head/head_output_cuda.h"

namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarps = 4;  // a warp a row
constexpr unsigned kThreads = kWarps * kWarpSize;

template <class T>
__global__ void __launch_bounds__(kThreads) head_output_kernel(HeadRows<T> call) {
  follow_earlier_launches();
  if (blockIdx.x >= *call.tiles.count) return;
  const HeadTile tile = call.tiles.tiles[blockIdx.x];
  const TaskHead& head = call.heads[tile.input.slot];
  const bool copies = head.layers == 0;
  if (!copies && !head.normalize) return;
  const unsigned warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize, outputs = head.outputs;
  for (unsigned row = warp; row < tile.input.rows; row += kWarps) {
    const LogitPlace place = call.places[tile.head_row + row];
    const T* const x = call.input_of(tile, head) + static_cast<size_t>(row) * call.width;
    float* const logits = call.logits + place.begin;
    // A lane reads and writes values of its own.
    const auto value = [&](unsigned i) { return copies ? to_float(x[i]) : logits[static_cast<size_t>(i) * place.stride]; };
    float divisor = 1;
    if (head.normalize) {
      float squares = 0;
      for (unsigned i = lane; i < outputs; i += kWarpSize) {
        const float v = value(i);
        squares = fmaf(v, v, squares);
      }
      const float length = sqrtf(warp_sum(squares));
      divisor = length < 1e-12F ? 1e-12F : length;
    }
    for (unsigned i = lane; i < outputs; i += kWarpSize) logits[static_cast<size_t>(i) * place.stride] = value(i) / divisor;
  }
}

}  // namespace

template <class T>
void head_output(Stream stream, const HeadRows<T>& call) {
  if (call.tiles.most == 0) return;
  launch(stream, head_output_kernel<T>, dim3(call.tiles.most), dim3(kThreads), 0, call);
}

template void head_output(Stream, const HeadRows<float>&);
template void head_output(Stream, const HeadRows<Half>&);
template void head_output(Stream, const HeadRows<BFloat16>&);

}  // namespace pets::kernels::cuda
