// The latency table's reader: it takes any bytes, and what it takes gives a cost model whose predictions are finite and not negative.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "runtime/serving/latency_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pets::serving;
  const auto table = parse_latency_table({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!table) return 0;
  const CostModel model(table->alpha, table->beta);
  const auto require = [](double seconds) {
    if (!std::isfinite(seconds) || seconds < 0) std::abort();
  };
  for (uint32_t rows = 1; rows <= 1U << 22; rows *= 4) {
    BatchShape shape;
    shape.add(rows);
    require(model.alpha(shape));
  }
  TaskWork work;
  for (const BetaPoint& point : table->beta) {
    work[point.family] = point.work;
    require(model.task_cost(work).seconds(point.rows));
  }
  if (const uint32_t rows = model.best_rows(2048); rows < 1 || rows > 2048) std::abort();
  return 0;
}
