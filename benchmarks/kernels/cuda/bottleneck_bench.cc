#include "benchmarks/kernels/cuda/grouped_product.h"
#include "benchmarks/kernels/cuda/measure.h"
#include "benchmarks/kernels/cuda/sections.h"

#include "kernels/bottleneck/bottleneck_cuda.h"
#include "kernels/norm/residual_norm_cuda.h"

namespace pets::benchmarks::gpu {
namespace {

using kernels::cuda::TaskBottleneck;
using kernels::cuda::TaskLinear;
using kernels::cuda::TaskNorm;

void measure_case(Gpu& gpu, uint32_t hidden, uint32_t tasks, uint32_t rows_of_task, uint32_t inner) {
  const Tiles tiles(std::vector<uint32_t>(tasks, rows_of_task));
  const size_t rows = tiles.rows(), factor = size_t{inner} * hidden, set_values = 2 * factor * tasks;
  const uint32_t sets = gpu.operand_sets(set_values * sizeof(Half));
  Array<Half> operands(set_values * sets), z(rows * inner), o(rows * hidden);
  operands.write(0, gpu.random.halves(set_values, 0.05F));
  operands.repeat_first(set_values);
  const Array<Half> dense(gpu.random.halves(rows * hidden, 1));
  Array<Half> residual(gpu.random.halves(rows * hidden, 1));
  const Array<float> bias(gpu.random.floats(hidden, 0.1F)), gamma(std::vector<float>(hidden, 1.0F)),
      down_bias(gpu.random.floats(inner, 0.1F));
  const Array<uint16_t> slots(std::vector<uint16_t>(rows, 0));

  std::vector<TaskBottleneck> bottlenecks;
  std::vector<GroupedProduct> down, up;
  for (uint32_t set = 0; set < sets; ++set) {
    std::vector<TaskProduct> downs, ups;
    for (uint32_t task = 0; task < tasks; ++task) {
      const Half* const own = operands.data() + set * set_values + task * 2 * factor;
      TaskBottleneck& entry = bottlenecks.emplace_back();
      entry.down = own;
      entry.up = own + factor;
      entry.inner = inner;
      entry.options.down_bias = down_bias.data();
      entry.options.up_bias = bias.data();
      const size_t row = size_t{task} * rows_of_task;
      const int n = static_cast<int>(rows_of_task), h = static_cast<int>(hidden), i = static_cast<int>(inner);
      downs.push_back({dense.data() + row * hidden, own, z.data() + row * inner, n, h, i, h, h, i});
      ups.push_back({z.data() + row * inner, own + factor, o.data() + row * hidden, n, i, h, i, i, h});
    }
    if (!GroupedProduct::available()) continue;
    down.emplace_back(gpu.cublas, downs, 0.0F);
    up.emplace_back(gpu.cublas, ups, 0.0F);
  }
  const Array<TaskBottleneck> d_bottlenecks(bottlenecks), no_bottlenecks{std::vector<TaskBottleneck>(tasks)};
  const Array<TaskLinear> linears{std::vector<TaskLinear>(tasks)};
  const Array<TaskNorm> norms{std::vector<TaskNorm>(tasks)};
  const TaskNorm norm{gamma.data(), bias.data()};
  constexpr float kEpsilon = 1e-12F;

  Way ours, products, closing;
  ours.queue = [&](uint32_t n) {
    kernels::cuda::bottleneck(gpu.stream, kernels::cuda::BottleneckSite<Half>{dense.data(),
                                                                              residual.data(),
                                                                              hidden,
                                                                              kEpsilon,
                                                                              bias.data(),
                                                                              norm,
                                                                              tiles.tiles(),
                                                                              {linears.data(), 1},
                                                                              {norms.data(), 1},
                                                                              {d_bottlenecks.data() + size_t{n % sets} * tasks, 1},
                                                                              inner});
  };
  closing.queue = [&](uint32_t) {
    kernels::cuda::residual_norm(gpu.stream, kernels::cuda::ResidualNorm<Half>{dense.data(),
                                                                               residual.data(),
                                                                               static_cast<uint32_t>(rows),
                                                                               hidden,
                                                                               kEpsilon,
                                                                               bias.data(),
                                                                               norm,
                                                                               slots.data(),
                                                                               {linears.data(), 1},
                                                                               {norms.data(), 1},
                                                                               {no_bottlenecks.data(), 1}});
  };
  std::string refusal;
  if (GroupedProduct::available()) {
    products.queue = [&](uint32_t n) {
      down[n % sets].queue();
      up[n % sets].queue();
    };
    products.launches = 4;
    try {
      products.queue(0);
      check(cudaStreamSynchronize(gpu.stream), "the work on the device");
    } catch (const std::exception& error) {
      refusal = error.what();
      products.queue = nullptr;
      recover(gpu);
    }
  }
  measure(gpu, {&ours, &products, &closing});
  check(cudaGetLastError(), "a launch");
  const double flops = 4.0 * static_cast<double>(rows) * hidden * inner, with_norm = products.seconds + closing.seconds;
  print_row({hidden == 768 ? "BERT-base" : "MiniLM",
             std::to_string(tasks) + " x " + std::to_string(rows_of_task) + " rows, width " + std::to_string(inner), us(ours.seconds),
             refusal.empty() ? us(products.seconds) : refusal, us(closing.seconds),
             products.seconds == 0 ? "-" : times(with_norm / ours.seconds), times(flops / ours.seconds * 1e-12)});
}

}  // namespace

void bottleneck(Gpu& gpu) {
  std::printf("## Bottleneck adapters: one grouped kernel, bias, residual and norm included, against the products alone by cuBLAS\n\n");
  print_header({"hidden size", "tasks", "kernel, us", "cuBLAS grouped, two products, us", "residual and norm kernel, us",
                "(products + norm) / kernel", "kernel, TFLOP/s"});
  for (const auto& [tasks, rows] : {std::pair<uint32_t, uint32_t>{1, 64}, {8, 64}, {32, 16}, {32, 64}, {32, 128}, {128, 16}, {128, 64}}) {
    for (const uint32_t inner : {16U, 64U}) measure_case(gpu, 768, tasks, rows, inner);
  }
  measure_case(gpu, 768, 32, 64, 128);
  measure_case(gpu, 384, 32, 64, 64);
  measure_case(gpu, 384, 128, 16, 64);
  std::printf("\nThe adapter's bias and activation would be kernels of their own beside cuBLAS's products; they are not counted.\n");
}

}  // namespace pets::benchmarks::gpu
