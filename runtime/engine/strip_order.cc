#include "runtime/engine/strip_order.h"

#include <algorithm>

namespace pets::engine {

using kernels::kStripRows;

void StripOrder::add(uint32_t item, uint32_t rows) {
  Queue& queue = queues_[rows % kStripRows];
  if (queue.items != 0) {
    next_[queue.last] = item;
  } else {
    queue.first = item;
  }
  queue.last = item;
  ++queue.items;
  ++items_;
}

uint32_t StripOrder::choose(uint32_t lane) const {
  const uint32_t ends_here = (kStripRows - lane) % kStripRows;
  if (queues_[ends_here].items != 0) return ends_here;
  uint32_t best = 0, best_score = 0;
  for (uint32_t r = 0; r < kStripRows; ++r) {
    if (queues_[r].items == 0) continue;
    const uint32_t then = (2 * kStripRows - lane - r) % kStripRows;
    const uint32_t left = queues_[then].items - (then == r ? 1 : 0);
    // Pairs that end at an edge before all others; of pairs, those of which most are left; of others, the most frequent.
    const uint32_t score = left != 0 ? items_ + std::min(queues_[r].items, left) : queues_[r].items;
    if (score <= best_score) continue;
    best = r;
    best_score = score;
  }
  return best;
}

uint32_t StripOrder::take(uint32_t rows_before) {
  Queue& queue = queues_[choose(rows_before % kStripRows)];
  const uint32_t item = queue.first;
  if (--queue.items != 0) queue.first = next_[item];
  --items_;
  return item;
}

}  // namespace pets::engine
