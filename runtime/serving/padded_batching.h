// The PetS paper's strategies: intra-task batching (beta), inter-task batching (alpha), and both coordinated.
#pragma once

#include <vector>

#include "runtime/serving/batching.h"

namespace pets::serving {

/// Zhou et al., "PetS: A Unified Framework for Parameter-Efficient Transformers Serving", USENIX ATC 2022, section 5.
///
/// Every batch is padded to its longest query, so similar lengths belong together: queries are sorted by length and cut by
///
///     best[0] = 0,   best[i] = min over j < i of best[j] + cost(j, i)
///
/// where cost(j, i) is of one batch of the sorted queries j .. i-1 with (i - j) * length[i-1] rows, and batches beyond the limits are left
/// out. O(n * most queries of a batch) evaluations of the model after an O(n log n) sort.
///
///   alpha        over all queries, whatever their tasks; cost = alpha. The shared operators alone: tasks are scattered over the batches.
///   beta         for each task apart; cost = alpha + beta. No batch has two tasks.
///   coordinated  1. for each task, cost = beta + padding_weight * alpha's best seconds a row * rows: mini-batches of one task.
///                2. over all mini-batches by their padded length, cost = alpha: batches of whole mini-batches.
///
/// With padding_weight 0 the first step is the paper's to the letter, which sees only the task's operators: where these are cheap beside
/// the shared ones, it pads a task's queries to its longest. 1 prices that padding as the shared operators will.
///
/// Not optimal: the cuts are optimal for the sorted order and the model (for one cost that grows with rows and queries, some optimal
/// partition is contiguous in it), but the two steps of `coordinated` do not see each other's cost, mini-batches are not cut again, and
/// batches run shortest first: deadlines, priorities and the order of arrival are not looked at.
class PaddedBatching final : public BatchingStrategy {
 public:
  /// kAlpha, kBeta or kCoordinated.
  PaddedBatching(Strategy strategy, const BatchingOptions& options);
  void plan(std::span<const Item> items, Nanoseconds now, const CostModel& costs, Schedule& schedule) override;
  bool replans() const override { return false; }

 private:
  /// What a batch is made of: one query, or a mini-batch.
  struct Unit {
    uint32_t length = 0;  ///< padded
    uint32_t queries = 0;
    uint32_t extra = 0;           ///< rows of fan-outs beyond their lengths
    uint32_t begin = 0, end = 0;  ///< into `sorted_`
  };
  /// Cuts units_[first, last), sorted by length; appends the last unit's end of each part to `cuts_`.
  template <typename Cost>
  void cut(size_t first, size_t last, const Cost& cost);
  /// Cuts the items of each task; calls each(first unit, last unit) for every part.
  template <typename Cost, typename Each>
  void cut_each_task(std::span<const Item> items, const Cost& cost, const Each& each);
  void emit(std::span<const Item> items, std::span<const Unit> units, const CostModel& costs, Schedule& schedule);

  Strategy strategy_;
  BatchingOptions options_;
  std::vector<uint32_t> sorted_;  // indices into the items, by task and length or by length
  std::vector<Unit> units_, mini_batches_;
  std::vector<double> best_;
  std::vector<uint32_t> from_, cuts_, members_;
};

}  // namespace pets::serving
