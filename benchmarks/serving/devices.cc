#include "benchmarks/serving/devices.h"

#include <algorithm>

#include "runtime/serving/fit.h"

namespace pets::benchmarks {
namespace {

using serving::OperatorFamily;

struct MadeUp {
  const char* name;
  double batch, row, pair;  // seconds
  uint32_t free_rows;       // that cost what none do
};
constexpr MadeUp kMadeUp[] = {{"cpu", 3e-4, 2e-4, 3e-7, 0}, {"gpu", 2.5e-3, 4e-6, 2e-9, 512}, {"linear", 0, 1e-4, 0, 0}};

}  // namespace

std::vector<std::string> made_up_names() {
  std::vector<std::string> names;
  for (const MadeUp& device : kMadeUp) names.emplace_back(device.name);
  return names;
}

serving::LatencyTable made_up_table(const std::string& name) {
  const MadeUp& device = *std::find_if(std::begin(kMadeUp), std::end(kMadeUp), [&](const MadeUp& each) { return each.name == name; });
  serving::LatencyTable table;
  table.key = {"made up", "none", "none", "fp32", "", 1, 384, 6, 12, 1536, 30522, 512, 0};
  for (uint32_t rows = 16; rows <= 8192; rows *= 2) {
    // Three lengths: of two, the pairs are a sum of multiples of the rows and the queries, and no fit could tell what they cost.
    for (const uint32_t length : {16U, 32U, 128U}) {
      if (length > rows) continue;
      const double charged = std::max(rows, device.free_rows) - device.free_rows;
      table.alpha.push_back({rows / length, length, device.batch + device.row * charged + device.pair * rows * length});
    }
  }
  engine::BaseWeights base;
  base.hidden = table.key.hidden;
  base.layers = table.key.layers;
  base.intermediate = table.key.intermediate;
  const double h = base.hidden, multiply_adds = base.layers * (4 * h * h + 2 * h * base.intermediate);
  table.beta = serving::usual_beta(base, device.row, multiply_adds);
  return table;
}

std::vector<serving::TaskWork> usual_works(uint32_t tasks, const serving::TableKey& encoder) {
  const double h = encoder.hidden, m = encoder.intermediate, layers = encoder.layers, linears = layers * (4 * h * h + 2 * h * m);
  constexpr double kRank = 8, kInner = 64, kDensity = 0.01;
  std::vector<serving::TaskWork> kinds(8);
  kinds[0][OperatorFamily::kLowRank] = layers * 2 * kRank * 2 * h;
  kinds[1][OperatorFamily::kBias] = layers * (5 * h + m);
  kinds[1][OperatorFamily::kNorm] = layers * 2 * h;
  kinds[2][OperatorFamily::kSparse] = kDensity * linears;
  kinds[3][OperatorFamily::kMask] = linears;
  kinds[4][OperatorFamily::kScale] = layers * (2 * h + m);
  kinds[5][OperatorFamily::kBottleneck] = layers * 2 * 2 * h * kInner;
  kinds[6][OperatorFamily::kBottleneck] = kinds[7][OperatorFamily::kBottleneck] = layers * 2 * h * kInner;
  std::vector<serving::TaskWork> works;
  for (uint32_t task = 0; task < tasks; ++task) works.push_back(kinds[task % kinds.size()]);
  return works;
}

std::vector<std::vector<uint32_t>> full_batches(const Trace& trace, const serving::BatchLimits& limits) {
  std::vector<std::vector<uint32_t>> batches;
  uint32_t rows = 0;
  for (uint32_t i = 0; i < trace.arrivals.size(); ++i) {
    const uint32_t tokens = trace.arrivals[i].tokens;
    if (batches.empty() || rows + tokens > limits.rows || batches.back().size() == limits.queries) {
      batches.emplace_back();
      rows = 0;
    }
    rows += tokens;
    batches.back().push_back(i);
  }
  for (auto& batch : batches) {
    std::stable_sort(batch.begin(), batch.end(), [&](uint32_t a, uint32_t b) { return trace.arrivals[a].task < trace.arrivals[b].task; });
  }
  return batches;
}

double batch_seconds(const Trace& trace, std::span<const uint32_t> batch, std::span<const serving::TaskWork> works,
                     const serving::CostModel& costs) {
  serving::BatchSum sum;
  for (const uint32_t i : batch) {
    serving::Item item;
    item.task = trace.arrivals[i].task;
    item.length = item.rows = trace.arrivals[i].tokens;
    item.cost = costs.task_cost(works[item.task]);
    sum.add(item);
  }
  return sum.seconds(costs);
}

double capacity(const Trace& trace, std::span<const serving::TaskWork> works, const serving::CostModel& costs,
                const serving::BatchLimits& limits) {
  auto batches = full_batches(trace, {costs.best_rows(limits.rows), limits.queries});
  if (batches.size() > 1) batches.pop_back();  // the last one is what was left
  double seconds = 0, queries = 0;
  for (const auto& batch : batches) {
    seconds += batch_seconds(trace, batch, works, costs);
    queries += static_cast<double>(batch.size());
  }
  return seconds > 0 ? queries / seconds : 0;
}

}  // namespace pets::benchmarks
