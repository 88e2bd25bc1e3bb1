// In which order a run takes its queries.
#pragma once

#include <cstdint>
#include <span>

#include "pets/types.h"
#include "runtime/engine/task_set.h"
#include "runtime/memory/arena.h"

namespace pets::engine {

/// Brings the queries of a task together over a window of many batches. A task's operators then work on all of its rows at once: 1,024
/// shuffled queries of 128 tasks, N(32, 8) tokens, in batches of 4,096 run 1.04 (every PET type) to 1.06 times (LoRA) as fast.
class RunOrder {
 public:
  /// Queries that are looked at together; the order takes 8 bytes of each.
  static constexpr uint32_t kWindow = 8192;

  /// Room for a window; without it queries are taken in input order.
  void lay_out(memory::Arena& arena) { keys_ = arena.array<uint64_t>(kWindow); }

  /// Sorts the queries of the window that begins at `first` by task, those with masks last (as a batch does), unknown tasks behind them,
  /// then by input order. Neighbours of one text that can share rows go with the first of them. Returns how many queries the window has.
  size_t open_window(const TaskSet& set, std::span<const Query> queries, size_t first);
  /// Index into the run's queries of the one that is taken `position`-th in the window.
  size_t query(size_t position) const { return first_ + (keys_ == nullptr ? position : static_cast<uint32_t>(keys_[position])); }

 private:
  uint64_t* keys_ = nullptr;  // [kWindow]: order, then position in the window
  size_t first_ = 0;
};

}  // namespace pets::engine
