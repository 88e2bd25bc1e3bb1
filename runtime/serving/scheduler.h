// Which batch runs next: the waiting items, a strategy, and the cost model that it plans with. The server and the simulator drive it alike.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/serving/batching.h"

namespace pets::serving {

/// Does not allocate after it was made. Not thread-safe.
class Scheduler {
 public:
  struct Batch {
    std::span<const uint32_t> slots;  ///< in the order in which they run; valid until the next call
    uint32_t padded_length = 0;       ///< 0: no padding
    uint32_t rows = 0;                ///< padding included
    uint32_t own_rows = 0;            ///< of the items
    double predicted_seconds = 0;
    double pet_seconds = 0;  ///< of those, for operators of tasks
  };

  Scheduler(Strategy strategy, const BatchingOptions& options, CostModel costs);

  /// Of an item that no waiting one's slot has; slots are below BatchingOptions::items.
  void add(const Item& item);
  /// The item of that slot leaves without running. Nothing happens where it does not wait.
  void remove(uint32_t slot);
  bool waits(uint32_t slot) const { return position_[slot] != kNone; }
  std::span<const Item> waiting() const { return waiting_; }

  /// The next batch; its items wait no more. False where none waits.
  bool next(Nanoseconds now, Batch& batch);
  /// The last batch took `seconds`: later predictions follow.
  void finished(const Batch& batch, double seconds) { costs_.correct(batch.rows, batch.predicted_seconds, seconds); }

  const CostModel& costs() const { return costs_; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  /// Plans what waits.
  void plan(Nanoseconds now);
  /// Moves what still waits of the schedule's next batch to taken_.
  void take(const Schedule::Batch& batch);

  std::unique_ptr<BatchingStrategy> strategy_;
  CostModel costs_;
  std::vector<Item> waiting_;
  std::vector<uint32_t> position_;  // by slot: in waiting_
  std::vector<bool> planned_;       // by slot: its item waits and is in the schedule; a later item of that slot is not
  Schedule schedule_;
  std::size_t next_batch_ = 0;  // of the schedule
  std::vector<uint32_t> taken_;
  Batch sum_;
};

}  // namespace pets::serving
