#include "runtime/engine/row_blocks.h"

#include <algorithm>

namespace pets::engine {
namespace {

/// Whether no task has rows both before and behind the beginning of `strip`.
bool task_ends(const RowGroups& groups, uint32_t strip) { return groups.of(strip - 1).back().task != groups.of(strip).front().task; }

}  // namespace

uint32_t cut_blocks(const RowGroups& groups, uint32_t strips, uint32_t threads, uint32_t* begin) {
  constexpr uint32_t kReach = kMostBlockStrips - kBlockStrips;
  const uint32_t fewest = (strips + kBlockStrips - 1) / kBlockStrips;
  const uint32_t wanted = std::min((fewest + threads - 1) / threads * threads, strips);
  uint32_t count = 0;
  begin[0] = 0;
  while (begin[count] < strips) {
    const uint32_t at = begin[count], left = strips - at;
    const uint32_t to_come = wanted > count ? std::min(wanted - count, left) : 1;
    const uint32_t blocks = std::max(to_come, (left + kBlockStrips - 1) / kBlockStrips);
    const uint32_t aim = (left + blocks / 2) / blocks;
    uint32_t size = aim;
    for (uint32_t reach = 0; reach <= kReach; ++reach) {
      if (aim + reach < left && task_ends(groups, at + aim + reach)) {
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
