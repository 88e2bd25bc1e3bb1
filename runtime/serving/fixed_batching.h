// Batches of a fixed number of queries.
#pragma once

#include <vector>

#include "runtime/serving/batching.h"

namespace pets::serving {

/// The baseline of most servers: `fixed_queries` queries a batch in the order of arrival, whatever their lengths and tasks, padded to the
/// longest. Fewer where the padded batch would exceed its limits.
///
/// Objective: none. Complexity: O(n log n) for the order of arrival, which is usually there already. Ignores deadlines and priorities.
class FixedBatching final : public BatchingStrategy {
 public:
  explicit FixedBatching(const BatchingOptions& options) : options_(options) { order_.reserve(options.items); }
  void plan(std::span<const Item> items, Nanoseconds now, const CostModel& costs, Schedule& schedule) override;
  bool replans() const override { return false; }

 private:
  BatchingOptions options_;
  std::vector<uint32_t> order_;  // indices into the items
};

}  // namespace pets::serving
