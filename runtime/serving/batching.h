// How waiting queries are cut into batches: what every strategy sees and gives.
//
// Five strategies, of the PetS paper (Zhou et al., USENIX ATC 2022, section 5) and ours:
//   fixed        batches of so many queries in the order of arrival                                (fixed_batching.h)
//   beta         the queries of one task together, cut by dynamic programming                      (padded_batching.h)
//   alpha        queries of similar length together whatever their task, cut likewise              (padded_batching.h)
//   coordinated  the paper's: both, one after the other                                            (padded_batching.h)
//   packed       no padding, a budget of rows, deadlines and priorities                            (packed_batching.h)
// The first four pad: every query of a batch is computed with the rows of the longest one, as the paper's engine and most others do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "pets/types.h"
#include "runtime/serving/cost_model.h"

namespace pets::serving {

/// Nanoseconds of a steady clock (or a simulated one).
using Nanoseconds = int64_t;
inline constexpr Nanoseconds kNoDeadline = INT64_MAX;

/// A waiting query. A fan-out (one text, many tasks) is one item.
struct Item {
  uint32_t slot = 0;    ///< by which the caller knows it
  uint32_t task = 0;    ///< items of one task have the same number
  uint32_t length = 0;  ///< tokens
  uint32_t rows = 0;    ///< that it takes without padding: its length, more for a fan-out
  TaskCost cost;
  int32_t priority = 0;  ///< higher goes first
  Nanoseconds arrival = 0;
  Nanoseconds deadline = kNoDeadline;
};

/// Batches one after another.
class Schedule {
 public:
  struct Batch {
    uint32_t begin = 0, end = 0;  ///< into `order`
    uint32_t padded_length = 0;   ///< of every query; 0: none is padded
    double predicted_seconds = 0;
    double pet_seconds = 0;  ///< of those, for operators of tasks
  };

  /// Room for `items` items; the only allocation.
  void reserve(uint32_t items) {
    order.reserve(items);
    batches.reserve(items);
  }
  void clear() {
    order.clear();
    batches.clear();
  }
  std::span<const uint32_t> slots(const Batch& batch) const { return std::span(order).subspan(batch.begin, batch.end - batch.begin); }

  std::vector<uint32_t> order;  ///< slots of items
  std::vector<Batch> batches;
};

struct BatchLimits {
  uint32_t rows = 2048;    ///< of one batch (SessionOptions::max_batch_tokens)
  uint32_t queries = 256;  ///< of one batch (SessionOptions::max_batch_queries)
};

struct BatchingOptions {
  BatchLimits limits;
  uint32_t items = 4096;        ///< most that wait at once
  uint32_t fixed_queries = 32;  ///< of kFixed: queries a batch
  double padding_weight = 1;    ///< of kCoordinated and kBeta, see padded_batching.h
  double patience_seconds = 0;  ///< of kPacked: see packed_batching.h; 0: ten full batches
};

/// Cuts waiting queries into batches. Does not allocate after it was made. Not thread-safe.
class BatchingStrategy {
 public:
  virtual ~BatchingStrategy() = default;
  /// Fills `schedule` (cleared before) with batches of `items`, in the order in which they are to run. A strategy that `replans` may leave
  /// items out that would come later; it gives at least one batch where there is an item. No batch exceeds the limits, but that an item
  /// beyond them makes a batch of its own.
  virtual void plan(std::span<const Item> items, Nanoseconds now, const CostModel& costs, Schedule& schedule) = 0;
  /// Whether the caller asks again after each batch; else it runs the whole schedule first.
  virtual bool replans() const = 0;
};

std::unique_ptr<BatchingStrategy> make_strategy(Strategy strategy, const BatchingOptions& options);

/// Sums up a batch of items as it is run, padded to `padded_length` where that is not 0. Tasks may come in any order; each one's fixed cost
/// counts once for every stretch of neighbours, so that the sum is exact where a task's items are neighbours.
class BatchSum {
 public:
  explicit BatchSum(uint32_t padded_length = 0) : padded_length_(padded_length) {}
  void add(const Item& item);
  const BatchShape& shape() const { return shape_; }
  /// Of the tasks' operators; a part of `seconds`.
  double pet_seconds(const CostModel& costs) const { return pet_seconds_ * costs.correction(shape_.rows); }
  double seconds(const CostModel& costs) const { return costs.alpha(shape_) + pet_seconds(costs); }

 private:
  uint32_t padded_length_;
  BatchShape shape_;
  double pet_seconds_ = 0;
  std::optional<uint32_t> last_task_;
};

}  // namespace pets::serving
