// Captured batches by their extents.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/cuda/device.h"
#include "runtime/cuda/encoder_launches.h"
#include "runtime/cuda/shape.h"

namespace pets::cuda {

/// Counts of rows that graphs are captured for: `rows`, rounded up to an eighth of the power of two below it (at least 32), at most `most`.
/// So a batch has at most an eighth more rows than it needs, and tiles of products are full.
constexpr uint32_t bucket_rows(uint32_t rows, uint32_t most) {
  constexpr uint32_t kSmallest = 32, kSteps = 8;
  uint32_t step = kSmallest;
  while (step * kSteps * 2 <= rows) step *= 2;
  return std::min(round_up(rows, step), most);
}

/// The graphs that were used last. One thread uses it.
class GraphCache {
 public:
  struct Entry {
    LaunchExtents extents;
    std::unique_ptr<Graph> graph;  ///< null: not captured yet
    uint32_t times = 0;            ///< that such a batch has been run
    uint64_t used = 0;             ///< when it was asked for last; 0: never
  };

  explicit GraphCache(size_t most = 64) : entries_(most) {}
  /// The entry of those extents; a new one, in place of that which was not used for longest, where there is none.
  Entry& find(const LaunchExtents& extents) {
    Entry* oldest = &entries_.front();
    for (Entry& entry : entries_) {
      if (entry.used != 0 && entry.extents == extents) {
        entry.used = ++clock_;
        return entry;
      }
      if (entry.used < oldest->used) oldest = &entry;
    }
    *oldest = {extents, nullptr, 0, ++clock_};
    return *oldest;
  }
  /// A captured graph that gives such a batch the same answers: of the same extents, with launches of more families, which find no tile of
  /// theirs. The one with the fewest more; null where there is none.
  const Graph* covering(const LaunchExtents& extents) const {
    const Entry* found = nullptr;
    for (const Entry& entry : entries_) {
      if (entry.graph == nullptr || !entry.extents.covers(extents)) continue;
      if (found == nullptr || std::popcount(entry.extents.families) < std::popcount(found->extents.families)) found = &entry;
    }
    return found == nullptr ? nullptr : found->graph.get();
  }
  /// Where launches would be others now.
  void clear() {
    for (Entry& entry : entries_) entry = {};
  }

 private:
  std::vector<Entry> entries_;
  uint64_t clock_ = 0;
};

}  // namespace pets::cuda
