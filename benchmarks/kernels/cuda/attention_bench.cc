#include <cmath>

#include "benchmarks/kernels/cuda/measure.h"
#include "benchmarks/kernels/cuda/sections.h"

#include "kernels/attention/attention_cuda.h"

namespace pets::benchmarks::gpu {
namespace {

void measure_case(Gpu& gpu, uint32_t heads, uint32_t head_size, uint32_t sequences, uint32_t length) {
  const uint32_t hidden = heads * head_size, rows = sequences * length;
  std::vector<kernels::cuda::AttentionTile> tiles;
  for (uint32_t s = 0; s < sequences; ++s) {
    for (uint32_t row = 0; row < length; row += kernels::cuda::kQueryRows) {
      const auto queries = static_cast<uint16_t>(std::min(kernels::cuda::kQueryRows, length - row));
      tiles.push_back({s * length + row, s * length, queries, static_cast<uint16_t>(length)});
    }
  }
  const Array<kernels::cuda::AttentionTile> d_tiles(tiles);
  const Array<uint32_t> count(std::vector<uint32_t>{static_cast<uint32_t>(tiles.size())});
  const Array<Half> qkv(gpu.random.halves(size_t{rows} * 3 * hidden, 1)), out(size_t{rows} * hidden);
  kernels::cuda::Attention<Half> call;
  call.q = qkv.data();
  call.k = qkv.data() + hidden;
  call.v = qkv.data() + 2 * hidden;
  call.q_stride = call.kv_stride = 3 * hidden;
  call.out = out.data();
  call.out_stride = hidden;
  call.heads = heads;
  call.head_size = head_size;
  call.scale = 1 / std::sqrt(static_cast<float>(head_size));
  call.tiles = d_tiles.data();
  call.tile_count = count.data();
  call.most_tiles = static_cast<uint32_t>(tiles.size());
  Way ours;
  ours.queue = [&](uint32_t) { kernels::cuda::attention(gpu.stream, call); };
  measure(gpu, {&ours});
  check(cudaGetLastError(), "a launch");
  const double flops = 4.0 * rows * length * hidden, bytes = 4.0 * rows * hidden * sizeof(Half);
  print_row({std::to_string(heads) + " x " + std::to_string(head_size), std::to_string(sequences) + " x " + std::to_string(length),
             us(ours.seconds), times(flops / ours.seconds * 1e-12), times(bytes / ours.seconds * 1e-9)});
}

}  // namespace

void attention(Gpu& gpu) {
  std::printf("## Attention kernel, half precision\n\n");
  print_header({"heads", "sequences", "us", "TFLOP/s", "GB/s"});
  for (const uint32_t head_size : {64U, 32U}) {  // BERT-base, MiniLM
    for (const auto& [sequences, length] :
         {std::pair<uint32_t, uint32_t>{64, 16}, {64, 32}, {256, 32}, {16, 128}, {64, 128}, {4, 512}, {16, 512}}) {
      measure_case(gpu, 12, head_size, sequences, length);
    }
  }
}

}  // namespace pets::benchmarks::gpu
