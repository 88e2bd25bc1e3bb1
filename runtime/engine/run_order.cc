#include "runtime/engine/run_order.h"

#include <algorithm>
#include <optional>

#include "runtime/engine/query_encoder.h"

namespace pets::engine {

size_t RunOrder::open_window(const TaskSet& set, std::span<const Query> queries, size_t first) {
  first_ = first;
  const size_t rest = queries.size() - first;
  if (keys_ == nullptr) return rest;
  const auto count = static_cast<uint32_t>(std::min<size_t>(rest, kWindow));
  std::optional<uint64_t> group;  // where queries of the current text go whose tasks leave layer 0 as it is
  for (uint32_t i = 0; i < count; ++i) {
    const Query& query = queries[first + i];
    if (i != 0 && !same_text(queries[first + i - 1], query)) group.reset();
    const std::optional<uint32_t> found = set.find(query.task);
    uint64_t order = UINT64_MAX << 32;
    if (found) {
      const Task& task = *set.tasks[*found];
      order = batch_order(task);
      if (task.weights.first_changed_layer != 0) group = order = group.value_or(order);
    }
    keys_[i] = order | i;
  }
  std::sort(keys_, keys_ + count);
  return count;
}

}  // namespace pets::engine
