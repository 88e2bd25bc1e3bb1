#include "runtime/serving/packed_batching.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace pets::serving {
namespace {

constexpr uint32_t kWindowBatches = 4;
constexpr double kDefaultPatience = 10;  // full batches
constexpr double kNanoseconds = 1e9;

/// a - b without overflow.
Nanoseconds saturated_minus(Nanoseconds a, Nanoseconds b) {
  Nanoseconds result = 0;
  if (__builtin_sub_overflow(a, b, &result)) return b > 0 ? std::numeric_limits<Nanoseconds>::min() : kNoDeadline;
  return result;
}

Nanoseconds to_nanoseconds(double seconds) { return static_cast<Nanoseconds>(std::min(seconds * kNanoseconds, 9e18)); }

}  // namespace

PackedBatching::PackedBatching(const BatchingOptions& options) : options_(options) {
  virtual_deadline_.reserve(options.items);
  task_deadline_.reserve(options.items);
  by_task_.reserve(options.items);
  order_.reserve(options.items);
  states_.reserve(options.items + 1);
  cuts_.reserve(options.items);
}

Nanoseconds PackedBatching::virtual_deadline(const Item& item) const {
  const Nanoseconds patient = saturated_minus(item.arrival, -patience_);
  Nanoseconds boost = 0;
  if (__builtin_mul_overflow(static_cast<Nanoseconds>(item.priority), patience_, &boost)) {
    boost = item.priority > 0 ? kNoDeadline : -kNoDeadline;
  }
  return saturated_minus(std::min(item.deadline, patient), boost);
}

void PackedBatching::order(std::span<const Item> items, Nanoseconds pressing_before) {
  const auto count = static_cast<uint32_t>(items.size());
  virtual_deadline_.resize(count);
  task_deadline_.resize(count);
  by_task_.resize(count);
  order_.resize(count);
  for (uint32_t i = 0; i < count; ++i) virtual_deadline_[i] = virtual_deadline(items[i]);
  std::iota(by_task_.begin(), by_task_.end(), 0U);
  std::sort(by_task_.begin(), by_task_.end(), [&](uint32_t a, uint32_t b) {
    if (items[a].task != items[b].task) return items[a].task < items[b].task;
    return virtual_deadline_[a] != virtual_deadline_[b] ? virtual_deadline_[a] < virtual_deadline_[b] : a < b;
  });
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t item = by_task_[i];
    const bool first = i == 0 || items[by_task_[i - 1]].task != items[item].task;
    task_deadline_[item] = first ? virtual_deadline_[item] : task_deadline_[by_task_[i - 1]];
  }
  std::copy(by_task_.begin(), by_task_.end(), order_.begin());
  const auto pressing_end =
      std::partition(order_.begin(), order_.end(), [&](uint32_t i) { return virtual_deadline_[i] < pressing_before; });
  std::sort(order_.begin(), pressing_end, [&](uint32_t a, uint32_t b) {
    if (virtual_deadline_[a] != virtual_deadline_[b]) return virtual_deadline_[a] < virtual_deadline_[b];
    return items[a].task != items[b].task ? items[a].task < items[b].task : a < b;
  });
  std::sort(pressing_end, order_.end(), [&](uint32_t a, uint32_t b) {
    if (task_deadline_[a] != task_deadline_[b]) return task_deadline_[a] < task_deadline_[b];
    if (items[a].task != items[b].task) return items[a].task < items[b].task;
    return virtual_deadline_[a] != virtual_deadline_[b] ? virtual_deadline_[a] < virtual_deadline_[b] : a < b;
  });
}

uint32_t PackedBatching::window(std::span<const Item> items) const {
  uint64_t rows = 0;
  uint32_t count = 0;
  while (count < order_.size() && (count == 0 || rows < uint64_t{kWindowBatches} * budget_)) rows += items[order_[count++]].rows;
  return count;
}

uint32_t PackedBatching::late(std::span<const Item> items, uint32_t begin, uint32_t end, Nanoseconds now, double seconds,
                              const CostModel& costs) const {
  const Nanoseconds finished = saturated_minus(now, -to_nanoseconds(seconds));
  uint32_t count = 0;
  for (uint32_t i = begin; i < end; ++i) {
    const Item& item = items[order_[i]];
    if (item.deadline >= finished) continue;
    BatchSum alone;
    alone.add(item);
    count += item.deadline >= saturated_minus(now, -to_nanoseconds(alone.seconds(costs))) ? 1 : 0;
  }
  return count;
}

void PackedBatching::plan(std::span<const Item> items, Nanoseconds now, const CostModel& costs, Schedule& schedule) {
  schedule.clear();
  if (items.empty()) return;
  if (budget_ == 0) {
    budget_ = costs.best_rows(options_.limits.rows);
    BatchShape full;
    while (full.rows < budget_) full.add(std::min(budget_ - full.rows, 32U));
    full_seconds_ = costs.alpha(full);
    patience_ = to_nanoseconds(options_.patience_seconds > 0 ? options_.patience_seconds : kDefaultPatience * full_seconds_);
  }
  order(items, saturated_minus(now, -to_nanoseconds(2 * full_seconds_)));

  const uint32_t count = window(items);
  const bool open = count < order_.size();
  states_.assign(count + 1, {});
  for (uint32_t i = 1; i <= count; ++i) {
    State& state = states_[i];
    state = {UINT32_MAX, std::numeric_limits<double>::infinity(), i - 1};
    BatchShape shape;
    double pet_seconds = 0;
    Nanoseconds deadline = kNoDeadline;  // the first one of the batch
    for (uint32_t j = i; j-- > 0;) {
      const Item& item = items[order_[j]];
      shape.rows += item.rows;
      shape.pairs += static_cast<double>(item.rows) * item.length;
      ++shape.queries;
      if (j + 1 != i && (shape.rows > budget_ || shape.queries > options_.limits.queries)) break;
      const bool neighbour = j + 1 < i && items[order_[j + 1]].task == item.task;
      pet_seconds += item.cost.per_row * item.rows + (neighbour ? 0 : item.cost.fixed);
      deadline = std::min(deadline, item.deadline);
      const double seconds = states_[j].seconds + costs.alpha(shape) + pet_seconds * costs.correction(shape.rows);
      uint32_t missed = states_[j].late;
      if (deadline != kNoDeadline && deadline < saturated_minus(now, -to_nanoseconds(seconds))) {
        missed += late(items, j, i, now, seconds, costs);
      }
      if (missed < state.late || (missed == state.late && seconds < state.seconds)) state = {missed, seconds, j};
    }
  }
  uint32_t last = count;
  if (open) {  // the batch that the window's end cuts off need not be whole
    const double rate = full_seconds_ / budget_;
    double tail = 0;
    State best = states_[count];
    for (uint32_t i = count; i-- > 1;) {
      tail += rate * items[order_[i]].rows;
      if (tail > full_seconds_) break;
      const double seconds = states_[i].seconds + tail;
      if (states_[i].late < best.late || (states_[i].late == best.late && seconds < best.seconds)) {
        best = {states_[i].late, seconds, 0};
        last = i;
      }
    }
  }
  cuts_.clear();
  for (uint32_t i = last; i != 0; i = states_[i].from) cuts_.push_back(i);
  uint32_t begin = 0;
  for (size_t c = cuts_.size(); c-- > 0;) {
    const uint32_t end = cuts_[c];
    BatchSum sum;
    for (uint32_t i = begin; i < end; ++i) {
      sum.add(items[order_[i]]);
      schedule.order.push_back(items[order_[i]].slot);
    }
    schedule.batches.push_back({begin, end, 0, sum.seconds(costs), sum.pet_seconds() * costs.correction(sum.shape().rows)});
    begin = end;
  }
}

}  // namespace pets::serving
