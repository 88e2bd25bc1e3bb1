#include "runtime/serving/fixed_batching.h"

#include <algorithm>
#include <numeric>

namespace pets::serving {

void FixedBatching::plan(std::span<const Item> items, Nanoseconds, const CostModel& costs, Schedule& schedule) {
  schedule.clear();
  order_.resize(items.size());
  std::iota(order_.begin(), order_.end(), 0U);
  std::sort(order_.begin(), order_.end(),
            [&](uint32_t a, uint32_t b) { return items[a].arrival != items[b].arrival ? items[a].arrival < items[b].arrival : a < b; });
  for (uint32_t begin = 0; begin < order_.size();) {
    uint32_t end = begin, longest = 0, rows = 0;
    while (end < order_.size() && end - begin < std::min(options_.fixed_queries, options_.limits.queries)) {
      const Item& item = items[order_[end]];
      const uint32_t longest_with = std::max(longest, item.length);
      // A fan-out's rows beyond its length come on top of the padding.
      const uint32_t rows_with = rows + std::max(item.rows, item.length) - item.length;
      if (end != begin && longest_with * (end - begin + 1) + rows_with > options_.limits.rows) break;
      longest = longest_with;
      rows = rows_with;
      ++end;
    }
    BatchSum sum(longest);
    for (uint32_t i = begin; i < end; ++i) {
      sum.add(items[order_[i]]);
      schedule.order.push_back(items[order_[i]].slot);
    }
    schedule.batches.push_back({begin, end, longest, sum.seconds(costs), sum.pet_seconds(costs)});
    begin = end;
  }
}

}  // namespace pets::serving
