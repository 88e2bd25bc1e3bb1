#include "benchmarks/kernels/cuda/grouped_product.h"
#include "benchmarks/kernels/cuda/measure.h"
#include "benchmarks/kernels/cuda/sections.h"

#include "kernels/low_rank/low_rank_cuda.h"

namespace pets::benchmarks::gpu {
namespace {

using kernels::cuda::TaskLinear;

struct LowRankCase {
  const char* site;
  uint32_t in, out;
  std::vector<uint32_t> rows, ranks;  // of each task
  std::string what() const {
    const bool even = rows.front() == rows.back() && ranks.front() == ranks.back();
    return even ? std::to_string(rows.size()) + " x " + std::to_string(rows[0]) + " rows, rank " + std::to_string(ranks[0])
                : std::to_string(rows.size()) + " tasks, " + std::to_string(rows.front()) + " to " + std::to_string(rows.back()) +
                      " rows, ranks " + std::to_string(ranks.front()) + " to " + std::to_string(ranks.back());
  }
};

std::vector<LowRankCase> low_rank_cases() {
  std::vector<LowRankCase> cases;
  const auto add = [&](const char* site, uint32_t in, uint32_t out, uint32_t tasks, uint32_t rows, uint32_t rank) {
    cases.push_back({site, in, out, std::vector<uint32_t>(tasks, rows), std::vector<uint32_t>(tasks, rank)});
  };
  for (const auto& [tasks, rows] : {std::pair<uint32_t, uint32_t>{1, 64}, {8, 64}, {32, 16}, {32, 64}, {32, 128}, {128, 16}, {128, 64}}) {
    for (const uint32_t rank : {8U, 64U}) add("BERT-base query", 768, 768, tasks, rows, rank);
  }
  add("BERT-base up", 768, 3072, 32, 64, 8);
  add("BERT-base down", 3072, 768, 32, 64, 8);
  add("MiniLM query", 384, 384, 32, 64, 8);
  add("MiniLM query", 384, 384, 128, 16, 8);
  LowRankCase uneven{"BERT-base query", 768, 768, {}, {}};
  for (uint32_t task = 0; task < 32; ++task) {
    uneven.rows.push_back(8 + 4 * task);
    uneven.ranks.push_back(task < 8 ? 4 : task < 16 ? 8 : task < 24 ? 16 : 64);
  }
  cases.push_back(uneven);
  return cases;
}

void measure_case(Gpu& gpu, const LowRankCase& shape) {
  const auto tasks = static_cast<uint32_t>(shape.rows.size());
  const Tiles tiles(shape.rows, kernels::cuda::kLowRankTileRows);
  const auto padded = [](uint32_t rank) {
    return (rank + kernels::cuda::kRankMultiple - 1) / kernels::cuda::kRankMultiple * kernels::cuda::kRankMultiple;
  };
  uint32_t most_rank = 0, sum_of_ranks = 0;
  size_t set_values = 0;
  for (const uint32_t rank : shape.ranks) {
    most_rank = std::max(most_rank, padded(rank));
    sum_of_ranks += rank;
    set_values += size_t{padded(rank)} * (shape.in + shape.out);
  }
  const uint32_t sets = gpu.operand_sets(set_values * sizeof(Half));
  // A task's values: a [rank][in], then b [out][rank], both padded to the kernel's ranks with zeros. cuBLAS reads the task's own rank of
  // them.
  Array<Half> operands(set_values * sets), z(size_t{tiles.rows()} * most_rank), x(gpu.random.halves(size_t{tiles.rows()} * shape.in, 1));
  Array<Half> y(std::vector<Half>(size_t{tiles.rows()} * shape.out, half(0)));
  std::vector<Half> first_set;
  for (const uint32_t rank : shape.ranks) {
    for (size_t i = 0; i < size_t{padded(rank)} * shape.in; ++i)
      first_set.push_back(half(i / shape.in < rank ? gpu.random.value(0.05F) : 0));
    for (size_t i = 0; i < size_t{padded(rank)} * shape.out; ++i) {
      first_set.push_back(half(i % padded(rank) < rank ? gpu.random.value(0.05F) : 0));
    }
  }
  operands.write(0, first_set);
  operands.repeat_first(set_values);

  std::vector<TaskLinear> linears;
  std::vector<GroupedProduct> down, up;
  for (uint32_t set = 0; set < sets; ++set) {
    const Half* a = operands.data() + set * set_values;
    std::vector<TaskProduct> downs, ups;
    size_t row = 0;
    for (uint32_t task = 0; task < tasks; ++task) {
      const uint32_t rank = padded(shape.ranks[task]);
      const Half* const b = a + size_t{rank} * shape.in;
      TaskLinear& linear = linears.emplace_back();
      linear.low_rank_a = a;
      linear.low_rank_b = b;
      linear.rank = rank;
      const int rows = static_cast<int>(shape.rows[task]), own = static_cast<int>(shape.ranks[task]), in = static_cast<int>(shape.in),
                out = static_cast<int>(shape.out), stride = static_cast<int>(most_rank);
      downs.push_back({x.data() + row * shape.in, a, z.data() + row * most_rank, rows, in, own, in, in, stride});
      ups.push_back({z.data() + row * most_rank, b, y.data() + row * shape.out, rows, own, out, stride, static_cast<int>(rank), out});
      a = b + size_t{rank} * shape.out;
      row += shape.rows[task];
    }
    if (!GroupedProduct::available()) continue;
    down.emplace_back(gpu.cublas, downs, 0.0F);
    up.emplace_back(gpu.cublas, ups, 1.0F);
  }
  const Array<TaskLinear> d_linears(linears);

  kernels::cuda::LowRank<Half> call;
  call.x = x.data();
  call.y = y.data();
  call.in = shape.in;
  call.out = call.out_stride = shape.out;
  call.tiles = tiles.tiles();
  call.most_rank = most_rank;
  Way ours, grouped;
  ours.queue = [&](uint32_t n) {
    call.linears = {d_linears.data() + size_t{n % sets} * tasks, 1};
    kernels::cuda::low_rank(gpu.stream, call);
  };
  if (GroupedProduct::available()) {
    grouped.queue = [&](uint32_t n) {
      down[n % sets].queue();
      up[n % sets].queue();
    };
    grouped.launches = 4;
  }

  // Whether both compute the same: from zero, once.
  const auto once = [&](const Way& way) {
    check(cudaMemset(static_cast<void*>(y.data()), 0, y.size() * sizeof(Half)), "zeroing");
    way.queue(0);
    check(cudaStreamSynchronize(gpu.stream), "the work on the device");
    return y.read();
  };
  std::string apart = "-", refusal;
  const std::vector<Half> own = once(ours);
  if (grouped.queue) {
    try {
      apart = small(difference(once(grouped), own));
    } catch (const std::exception& error) {
      refusal = error.what();
      grouped.queue = nullptr;
      recover(gpu);
    }
  }
  check(cudaMemset(static_cast<void*>(y.data()), 0, y.size() * sizeof(Half)), "zeroing");
  measure(gpu, {&ours, &grouped});
  const double bytes = static_cast<double>(set_values * sizeof(Half) + (x.size() + 2 * y.size()) * sizeof(Half));
  print_row({shape.site, shape.what(), us(ours.seconds), refusal.empty() ? us(grouped.seconds) : refusal,
             times(grouped.seconds / ours.seconds), times(bytes / ours.seconds * 1e-9), apart});
}

}  // namespace

void low_rank(Gpu& gpu) {
  std::printf("## Low rank (LoRA): one grouped kernel against cublasGemmGroupedBatchedEx, two calls\n\n");
  print_header({"site", "tasks", "kernel, us", "cuBLAS grouped, us", "cuBLAS / kernel", "kernel, GB/s", "difference"});
  for (const LowRankCase& shape : low_rank_cases()) measure_case(gpu, shape);
  std::printf("\nGB/s counts the tasks' factors, x once, y read and written.\n");
}

}  // namespace pets::benchmarks::gpu
