// Our strategy: packed batches, a budget of rows from the cost model, deadlines and priorities.
#pragma once

#include <vector>

#include "runtime/serving/batching.h"

namespace pets::serving {

/// Batches without padding cost what their rows cost, so lengths need no sorting; what is left to gain is that a task's queries share a
/// batch (its operators' fixed cost is paid once) and that batches are large enough to run at the best rate and no larger: a smaller batch
/// is answered sooner.
///
/// Budget: the fewest rows whose alpha a row is within 1 % of the best (CostModel::best_rows), at most the limit. Of a deep queue it is a
/// sixteenth of the waiting rows where that is more, for that last 1 % and for more of a task's queries together: who waits with so many
/// others is answered later by at most a sixteenth of their time. But not where somebody waits with a deadline or a priority above 0, nor
/// for `patience` after: the next one of those would wait for the end of a large batch. A batch may have half as many rows more than the
/// budget, so that it need not end a task early to keep the others whole.
///
/// Urgency: every query has a virtual deadline
///
///     v = min(deadline, arrival + patience) - priority * patience
///
/// in which a deadline counts no more once it cannot be met even alone: those who can still be in time go before.
/// It is pressing when v lies less than two full batches ahead: left for the batch after next it would be late. As arrival + patience is
/// finite, every query becomes pressing and then the most pressing of all, whatever comes behind it (unless that has a higher priority,
/// which is worth `patience` a step): no task starves.
///
/// Order: pressing queries by v; then task after task, the task of the most urgent query first, each with all its queries.
///
/// Cuts: over the first queries of that order, as many as make four budgets or fill four batches (a window), with lexicographically ordered
/// costs
///
///     f[0] = (0, 0),   f[i] = min over j < i, rows(j, i) <= 1.5 budgets of (late(j, i), 0) + f[j] + (0, c(j, i))
///
/// where c is alpha + beta of one packed batch of queries j .. i-1 and late counts those among them whose deadline is before its end,
/// now + seconds(f[i]); who cannot be in time even alone is not counted. Where the window is not the whole queue, the last batch may stay
/// open: its rows cost the best rate. Only the first batch is run before the strategy is asked again.
///
/// Complexity: O(n + queries of a window * log n) for the order, O(queries of a window * queries of a batch) for the cuts.
/// Not optimal: the order is fixed before the cuts; f minimizes lateness at each prefix by the fewest late, then the least time, and a
/// prefix that is late once more but faster could be better in the end; the model is not exact.
class PackedBatching final : public BatchingStrategy {
 public:
  explicit PackedBatching(const BatchingOptions& options);
  void plan(std::span<const Item> items, Nanoseconds now, const CostModel& costs, Schedule& schedule) override;
  bool replans() const override { return true; }

 private:
  struct State {
    uint32_t late = 0;
    double seconds = 0;
    uint32_t from = 0;
  };
  /// Where an item stands in the order: by these members, in this sequence.
  struct Place {
    bool pressing = false;  // pressing ones first
    Nanoseconds first = 0;  // its own virtual deadline, or its task's least
    Nanoseconds deadline = 0;
    uint32_t task = 0, index = 0;
  };
  struct TaskDeadline {
    uint64_t plan = 0;  // else the entry is free
    uint32_t task = 0;
    Nanoseconds deadline = 0;
  };
  /// Sets the budget of this plan, and what follows from it.
  void set_budget(std::span<const Item> items, Nanoseconds now, const CostModel& costs);
  /// Whether a batch of it alone would meet its deadline.
  static bool in_time_alone(const Item& item, Nanoseconds now, const CostModel& costs);
  Nanoseconds virtual_deadline(const Item& item, Nanoseconds pressing_before, Nanoseconds now, const CostModel& costs) const;
  /// The least virtual deadline of a task, kNoDeadline at first: a hash table of this plan.
  Nanoseconds& deadline_of(uint32_t task);
  /// Fills order_ with the window's items in order; leaves the others in places_.
  void order(std::span<const Item> items, Nanoseconds now, const CostModel& costs);
  /// Of the window's items in [begin, end): those who could be in time but end after their deadline.
  uint32_t late(std::span<const Item> items, uint32_t begin, uint32_t end, Nanoseconds finished) const;

  BatchingOptions options_;
  uint32_t least_budget_ = 0;     // rows; 0: not asked yet
  uint32_t budget_ = 0;           // rows
  uint32_t most_rows_ = 0;        // of a batch
  double full_seconds_ = 0;       // of a full batch of the shared operators
  Nanoseconds patience_ = 0;      // of full batches of the least budget
  Nanoseconds urgent_until_ = 0;  // somebody with a deadline or a priority waited less than `patience` before
  std::vector<Place> places_;
  std::vector<TaskDeadline> task_deadline_;
  uint64_t plan_ = 0;
  std::vector<uint32_t> order_;    // indices into the items
  std::vector<uint8_t> possible_;  // by place in order_: has a deadline that it can meet
  std::vector<State> states_;
  std::vector<uint32_t> cuts_;
};

}  // namespace pets::serving
