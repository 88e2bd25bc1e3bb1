#include "runtime/serving/scheduler.h"

#include <utility>

namespace pets::serving {

Scheduler::Scheduler(Strategy strategy, const BatchingOptions& options, CostModel costs)
    : strategy_(make_strategy(strategy, options)),
      costs_(std::move(costs)),
      position_(options.items, kNone),
      planned_(options.items, false) {
  waiting_.reserve(options.items);
  taken_.reserve(options.items);
  schedule_.reserve(options.items);
}

void Scheduler::add(const Item& item) {
  position_[item.slot] = static_cast<uint32_t>(waiting_.size());
  waiting_.push_back(item);
}

void Scheduler::remove(uint32_t slot) {
  const uint32_t position = position_[slot];
  if (position == kNone) return;
  position_[slot] = kNone;
  planned_[slot] = false;
  if (position + 1 != waiting_.size()) {
    waiting_[position] = waiting_.back();
    position_[waiting_[position].slot] = position;
  }
  waiting_.pop_back();
}

void Scheduler::take(const Schedule::Batch& batch) {
  taken_.clear();
  BatchSum sum(batch.padded_length);
  sum_ = {};
  for (const uint32_t slot : schedule_.slots(batch)) {
    if (!planned_[slot]) continue;
    const Item& item = waiting_[position_[slot]];
    sum.add(item);
    sum_.own_rows += item.rows;
    taken_.push_back(slot);
    remove(slot);
  }
  sum_.slots = taken_;
  sum_.padded_length = batch.padded_length;
  sum_.rows = sum.shape().rows;
  sum_.predicted_seconds = sum.seconds(costs_);
  sum_.pet_seconds = sum.pet_seconds(costs_);
}

void Scheduler::plan(Nanoseconds now) {
  for (const uint32_t slot : schedule_.order) planned_[slot] = false;
  strategy_->plan(waiting_, now, costs_, schedule_);
  for (const uint32_t slot : schedule_.order) planned_[slot] = true;
  next_batch_ = 0;
}

bool Scheduler::next(Nanoseconds now, Batch& batch) {
  while (!waiting_.empty()) {
    if (strategy_->replans() || next_batch_ == schedule_.batches.size()) plan(now);
    take(schedule_.batches[next_batch_++]);
    if (taken_.empty()) continue;  // all of it was cancelled since it was planned
    batch = sum_;
    return true;
  }
  schedule_.clear();
  next_batch_ = 0;
  return false;
}

}  // namespace pets::serving
