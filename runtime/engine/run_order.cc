#include "runtime/engine/run_order.h"

#include <algorithm>
#include <optional>

namespace pets::engine {

size_t RunOrder::open_window(const TaskSet& set, std::span<const Query> queries, size_t first) {
  first_ = first;
  const size_t rest = queries.size() - first;
  if (keys_ == nullptr) return rest;
  const auto count = static_cast<uint32_t>(std::min<size_t>(rest, kWindow));
  for (uint32_t i = 0; i < count; ++i) {
    const std::optional<uint32_t> task = set.find(queries[first + i].task);
    keys_[i] = (task ? batch_order(*set.tasks[*task]) : UINT64_MAX << 32) | i;
  }
  std::sort(keys_, keys_ + count);
  return count;
}

}  // namespace pets::engine
