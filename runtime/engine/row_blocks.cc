#include "runtime/engine/row_blocks.h"

#include <algorithm>

namespace pets::engine {
namespace {

/// How far a cut moves to where a task's rows end.
constexpr uint32_t kMostReach = kMostBlockStrips - kBlockStrips;

/// Whether no task has rows both before and behind the beginning of `strip`.
bool task_ends(const RowGroups& groups, uint32_t strip) { return groups.of(strip - 1).back().task != groups.of(strip).front().task; }

/// The last blocks, two a thread or fewer, are cut to end together.
bool is_near_the_end(uint32_t left, uint32_t threads) { return left <= 2 * threads * kMostBlockStrips; }

/// What the next block should have of `left` strips. Near the end blocks are as few as can be, alike, and as many as bring the number of
/// all to a multiple of `threads`.
uint32_t size_aim(uint32_t left, uint32_t threads, uint32_t blocks_before) {
  if (!is_near_the_end(left, threads)) return kBlockStrips;
  const uint32_t fewest = (left + kMostBlockStrips - 1) / kMostBlockStrips;
  const uint32_t all = (blocks_before + fewest + threads - 1) / threads * threads;
  const uint32_t blocks = std::min(all - blocks_before, left);
  return (left + blocks / 2) / blocks;
}

/// Near the end a cut moves by at most `end_reach` strips.
uint32_t cut(const RowGroups& groups, uint32_t strips, uint32_t threads, uint32_t end_reach, uint32_t* begin) {
  uint32_t count = 0;
  begin[0] = 0;
  while (begin[count] < strips) {
    const uint32_t at = begin[count], left = strips - at, aim = size_aim(left, threads, count);
    const uint32_t most_reach = is_near_the_end(left, threads) ? end_reach : kMostReach;
    const auto ends_with = [&](uint32_t size) { return size < left && size <= kMostBlockStrips && task_ends(groups, at + size); };
    uint32_t size = aim;
    for (uint32_t reach = 0; reach <= most_reach; ++reach) {
      if (ends_with(aim + reach)) {
        size = aim + reach;
        break;
      }
      if (reach < aim && ends_with(aim - reach)) {
        size = aim - reach;
        break;
      }
    }
    begin[++count] = at + size;
  }
  return count;
}

/// When the last of the threads is done, each taking the next block whenever it is free: in quarters of a strip's time, of which a block
/// takes one more.
uint32_t time_of(const uint32_t* begin, uint32_t blocks, uint32_t threads) {
  constexpr uint32_t kMostThreads = 64;  // with more, most have one block
  uint32_t busy_until[kMostThreads] = {};
  uint32_t* const end = busy_until + std::min(threads, kMostThreads);
  for (uint32_t i = 0; i < blocks; ++i) *std::min_element(busy_until, end) += 4 * (begin[i + 1] - begin[i]) + 1;
  return *std::max_element(busy_until, end);
}

}  // namespace

uint32_t cut_blocks(const RowGroups& groups, uint32_t strips, uint32_t threads, uint32_t* begin) {
  // A task that is cut reads what is its own twice, a few per cent; a thread that waits for another's block waits longer.
  uint32_t count = cut(groups, strips, threads, kMostReach, begin);
  if (threads == 1) return count;
  uint32_t best_reach = kMostReach, best = time_of(begin, count, threads);
  for (uint32_t reach = kMostReach; reach-- > 0;) {
    count = cut(groups, strips, threads, reach, begin);
    const uint32_t time = time_of(begin, count, threads);
    if (uint64_t{103} * time >= uint64_t{100} * best) continue;
    best = time;
    best_reach = reach;
  }
  return best_reach == 0 ? count : cut(groups, strips, threads, best_reach, begin);
}

}  // namespace pets::engine
