#include "runtime/serving/packed_batching.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace pets::serving {
namespace {

constexpr uint32_t kWindowBatches = 4;
constexpr uint32_t kDeepQueue = 16;      // a batch is at most this part of it
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
  places_.reserve(options.items);
  task_deadline_.resize(std::bit_ceil(2 * std::max(options.items, 1U)));
  order_.reserve(options.items);
  possible_.reserve(options.items);
  states_.reserve(options.items + 1);
  cuts_.reserve(options.items);
}

void PackedBatching::set_budget(std::span<const Item> items, Nanoseconds now, const CostModel& costs) {
  const auto seconds_of = [&](uint32_t rows) { return costs.alpha(BatchShape::usual(rows)); };
  if (least_budget_ == 0) {
    least_budget_ = costs.best_rows(options_.limits.rows);
    patience_ = to_nanoseconds(options_.patience_seconds > 0 ? options_.patience_seconds : kDefaultPatience * seconds_of(least_budget_));
    urgent_until_ = std::numeric_limits<Nanoseconds>::min();
  }
  uint64_t waiting = 0;
  for (const Item& item : items) {
    waiting += item.rows;
    if (item.deadline != kNoDeadline || item.priority > 0) urgent_until_ = saturated_minus(now, -patience_);
  }
  const uint64_t most = std::max(options_.limits.rows, least_budget_);
  budget_ = now < urgent_until_ ? least_budget_ : static_cast<uint32_t>(std::clamp<uint64_t>(waiting / kDeepQueue, least_budget_, most));
  most_rows_ = static_cast<uint32_t>(std::min(budget_ + uint64_t{budget_ / 2}, most));
  full_seconds_ = seconds_of(budget_);
}

bool PackedBatching::in_time_alone(const Item& item, Nanoseconds now, const CostModel& costs) {
  if (item.deadline < now) return false;
  BatchSum alone;
  alone.add(item);
  return item.deadline >= saturated_minus(now, -to_nanoseconds(alone.seconds(costs)));
}

Nanoseconds PackedBatching::virtual_deadline(const Item& item, Nanoseconds pressing_before, Nanoseconds now, const CostModel& costs) const {
  const Nanoseconds patient = saturated_minus(item.arrival, -patience_);
  // Who cannot be in time even alone does not go before those who can.
  const bool possible = item.deadline >= pressing_before || in_time_alone(item, now, costs);
  const Nanoseconds deadline = possible ? std::min(item.deadline, patient) : patient;
  if (item.priority == 0) return deadline;
  Nanoseconds boost = 0;
  if (__builtin_mul_overflow(static_cast<Nanoseconds>(item.priority), patience_, &boost)) {
    boost = item.priority > 0 ? kNoDeadline : -kNoDeadline;
  }
  return saturated_minus(deadline, boost);
}

Nanoseconds& PackedBatching::deadline_of(uint32_t task) {
  constexpr uint32_t kGoldenRatio = 0x9E3779B9;  // spreads neighbouring numbers (Knuth's multiplicative hashing)
  const size_t mask = task_deadline_.size() - 1;
  for (size_t at = task * kGoldenRatio >> 7 & mask;; at = (at + 1) & mask) {
    TaskDeadline& entry = task_deadline_[at];
    if (entry.plan != plan_) entry = {plan_, task, kNoDeadline};
    if (entry.task == task) return entry.deadline;
  }
}

void PackedBatching::order(std::span<const Item> items, Nanoseconds now, const CostModel& costs) {
  const Nanoseconds pressing_before = saturated_minus(now, -to_nanoseconds(2 * full_seconds_));
  if (items.size() * 2 > task_deadline_.size()) task_deadline_.assign(std::bit_ceil(2 * items.size()), {});  // more than was said
  ++plan_;
  places_.resize(items.size());
  for (uint32_t i = 0; i < items.size(); ++i) {
    const Item& item = items[i];
    const Nanoseconds deadline = virtual_deadline(item, pressing_before, now, costs);
    places_[i] = {deadline < pressing_before, deadline, deadline, item.task, i};
    Nanoseconds& least = deadline_of(item.task);
    least = std::min(least, deadline);
  }
  for (Place& place : places_) {
    if (!place.pressing) place.first = deadline_of(place.task);
  }
  const auto later = [](const Place& a, const Place& b) {
    if (a.pressing != b.pressing) return b.pressing;
    if (a.first != b.first) return a.first > b.first;
    if (a.task != b.task) return a.task > b.task;
    return a.deadline != b.deadline ? a.deadline > b.deadline : a.index > b.index;
  };
  // Only the window's places are needed in order.
  std::make_heap(places_.begin(), places_.end(), later);
  order_.clear();
  possible_.clear();
  uint64_t rows = 0;
  const auto within = [&] {
    return rows < uint64_t{kWindowBatches} * budget_ && order_.size() < uint64_t{kWindowBatches} * options_.limits.queries;
  };
  while (!places_.empty() && (order_.empty() || within())) {
    std::pop_heap(places_.begin(), places_.end(), later);
    const Item& item = items[places_.back().index];
    order_.push_back(places_.back().index);
    possible_.push_back(item.deadline != kNoDeadline && in_time_alone(item, now, costs) ? 1 : 0);
    rows += item.rows;
    places_.pop_back();
  }
}

uint32_t PackedBatching::late(std::span<const Item> items, uint32_t begin, uint32_t end, Nanoseconds finished) const {
  uint32_t count = 0;
  for (uint32_t i = begin; i < end; ++i) count += possible_[i] != 0 && items[order_[i]].deadline < finished ? 1 : 0;
  return count;
}

void PackedBatching::plan(std::span<const Item> items, Nanoseconds now, const CostModel& costs, Schedule& schedule) {
  schedule.clear();
  if (items.empty()) return;
  set_budget(items, now, costs);
  order(items, now, costs);

  const auto count = static_cast<uint32_t>(order_.size());
  const bool open = !places_.empty();
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
      if (j + 1 != i && (shape.rows > most_rows_ || shape.queries > options_.limits.queries)) break;
      const bool neighbour = j + 1 < i && items[order_[j + 1]].task == item.task;
      pet_seconds += item.cost.per_row * item.rows + (neighbour ? 0 : item.cost.fixed);
      if (possible_[j] != 0) deadline = std::min(deadline, item.deadline);
      const double seconds = states_[j].seconds + costs.alpha(shape) + pet_seconds * costs.correction(shape.rows);
      uint32_t missed = states_[j].late;
      if (deadline != kNoDeadline) {
        const Nanoseconds finished = saturated_minus(now, -to_nanoseconds(seconds));
        if (deadline < finished) missed += late(items, j, i, finished);
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
      if (tail > full_seconds_ || count - i > options_.limits.queries) break;
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
    schedule.batches.push_back({begin, end, 0, sum.seconds(costs), sum.pet_seconds(costs)});
    begin = end;
  }
}

}  // namespace pets::serving
