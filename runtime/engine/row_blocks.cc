#include "runtime/engine/row_blocks.h"

#include <algorithm>

namespace pets::engine {
namespace {

/// Whether no task has rows both before and behind the beginning of `strip`.
bool task_ends(const RowGroups& groups, uint32_t strip) { return groups.of(strip - 1).back().task != groups.of(strip).front().task; }

/// What the next block should have of `left` strips. Blocks as they come, until two a thread are left at most; these are as few as can be,
/// alike, and as many as bring the number of all to a multiple of `threads`.
uint32_t size_aim(uint32_t left, uint32_t threads, uint32_t blocks_before) {
  if (left > 2 * threads * kMostBlockStrips) return kBlockStrips;
  const uint32_t fewest = (left + kMostBlockStrips - 1) / kMostBlockStrips;
  const uint32_t all = (blocks_before + fewest + threads - 1) / threads * threads;
  const uint32_t blocks = std::min(all - blocks_before, left);
  return (left + blocks / 2) / blocks;
}

}  // namespace

uint32_t cut_blocks(const RowGroups& groups, uint32_t strips, uint32_t threads, uint32_t* begin) {
  constexpr uint32_t kReach = kMostBlockStrips - kBlockStrips;
  uint32_t count = 0;
  begin[0] = 0;
  while (begin[count] < strips) {
    const uint32_t at = begin[count], left = strips - at, aim = size_aim(left, threads, count);
    uint32_t size = aim;
    for (uint32_t reach = 0; reach <= kReach; ++reach) {
      if (aim + reach < left && aim + reach <= kMostBlockStrips && task_ends(groups, at + aim + reach)) {
        size = aim + reach;
        break;
      }
      if (reach < aim && aim - reach < left && task_ends(groups, at + aim - reach)) {
        size = aim - reach;
        break;
      }
    }
    begin[++count] = at + size;
  }
  return count;
}

}  // namespace pets::engine
