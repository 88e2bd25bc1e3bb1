#include "runtime/serving/padded_batching.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace pets::serving {

PaddedBatching::PaddedBatching(Strategy strategy, const BatchingOptions& options) : strategy_(strategy), options_(options) {
  sorted_.reserve(options.items);
  units_.reserve(options.items);
  mini_batches_.reserve(options.items);
  best_.reserve(options.items + 1);
  from_.reserve(options.items + 1);
  cuts_.reserve(options.items);
  members_.reserve(options.items);
}

template <typename Cost>
void PaddedBatching::cut(size_t first, size_t last, const Cost& cost) {
  const size_t count = last - first;
  best_.assign(count + 1, std::numeric_limits<double>::infinity());
  from_.assign(count + 1, 0);
  best_[0] = 0;
  for (size_t i = 1; i <= count; ++i) {
    const uint32_t length = units_[first + i - 1].length;
    uint32_t queries = 0, extra = 0;
    for (size_t j = i; j-- > 0;) {
      queries += units_[first + j].queries;
      extra += units_[first + j].extra;
      const uint64_t rows = static_cast<uint64_t>(length) * queries + extra;
      if (j + 1 != i && (queries > options_.limits.queries || rows > options_.limits.rows)) break;
      BatchShape shape;
      shape.rows = static_cast<uint32_t>(rows);
      shape.queries = queries;
      shape.pairs = static_cast<double>(rows) * length;
      const double seconds = best_[j] + cost(shape);
      if (seconds < best_[i]) {
        best_[i] = seconds;
        from_[i] = static_cast<uint32_t>(j);
      }
    }
  }
  cuts_.clear();
  for (size_t i = count; i != 0; i = from_[i]) cuts_.push_back(static_cast<uint32_t>(first + i));
  std::reverse(cuts_.begin(), cuts_.end());
}

template <typename Cost, typename Each>
void PaddedBatching::cut_each_task(std::span<const Item> items, const Cost& cost, const Each& each) {
  std::sort(sorted_.begin(), sorted_.end(), [&](uint32_t a, uint32_t b) {
    if (items[a].task != items[b].task) return items[a].task < items[b].task;
    return items[a].length != items[b].length ? items[a].length < items[b].length : a < b;
  });
  for (uint32_t i = 0; i < sorted_.size(); ++i) {
    const Item& item = items[sorted_[i]];
    units_.push_back({item.length, 1, std::max(item.rows, item.length) - item.length, i, i + 1});
  }
  for (uint32_t first = 0; first < units_.size();) {
    uint32_t last = first;
    const Item& item = items[sorted_[first]];
    while (last < units_.size() && items[sorted_[last]].task == item.task) ++last;
    cut(first, last, [&](const BatchShape& shape) { return cost(item.cost, shape); });
    uint32_t begin = first;
    for (const uint32_t end : cuts_) {
      each(begin, end);
      begin = end;
    }
    first = last;
  }
}

void PaddedBatching::emit(std::span<const Item> items, std::span<const Unit> units, const CostModel& costs, Schedule& schedule) {
  members_.clear();
  uint32_t longest = 0;
  for (const Unit& unit : units) {
    members_.insert(members_.end(), sorted_.begin() + unit.begin, sorted_.begin() + unit.end);
    longest = std::max(longest, unit.length);
  }
  // Neighbours of one task, as the engine will have them, so that the sum counts each task once.
  std::sort(members_.begin(), members_.end(), [&](uint32_t a, uint32_t b) {
    return items[a].task != items[b].task ? items[a].task < items[b].task : items[a].slot < items[b].slot;
  });
  BatchSum sum(longest);
  const auto begin = static_cast<uint32_t>(schedule.order.size());
  for (const uint32_t index : members_) {
    sum.add(items[index]);
    schedule.order.push_back(items[index].slot);
  }
  schedule.batches.push_back({begin, static_cast<uint32_t>(schedule.order.size()), longest, sum.seconds(costs), sum.pet_seconds(costs)});
}

void PaddedBatching::plan(std::span<const Item> items, Nanoseconds, const CostModel& costs, Schedule& schedule) {
  schedule.clear();
  units_.clear();
  sorted_.resize(items.size());
  std::iota(sorted_.begin(), sorted_.end(), 0U);
  if (strategy_ == Strategy::kBeta) {
    cut_each_task(
        items,
        [&](const TaskCost& task, const BatchShape& shape) {
          return costs.alpha(shape) + task.seconds(shape.rows) * costs.correction(shape.rows);
        },
        [&](uint32_t begin, uint32_t end) { emit(items, std::span(units_).subspan(begin, end - begin), costs, schedule); });
    return;
  }
  if (strategy_ == Strategy::kCoordinated) {
    const uint32_t rows = costs.best_rows(options_.limits.rows);
    const double padding = rows == 0 ? 0 : options_.padding_weight * costs.alpha(BatchShape::usual(rows)) / rows;
    mini_batches_.clear();
    cut_each_task(
        items, [&](const TaskCost& task, const BatchShape& shape) { return task.seconds(shape.rows) + padding * shape.rows; },
        [&](uint32_t begin, uint32_t end) {
          Unit mini{units_[end - 1].length, end - begin, 0, units_[begin].begin, units_[end - 1].end};
          for (uint32_t u = begin; u < end; ++u) mini.extra += units_[u].extra;
          mini_batches_.push_back(mini);
        });
    std::swap(units_, mini_batches_);
    std::sort(units_.begin(), units_.end(),
              [](const Unit& a, const Unit& b) { return a.length != b.length ? a.length < b.length : a.begin < b.begin; });
  } else {
    std::sort(sorted_.begin(), sorted_.end(),
              [&](uint32_t a, uint32_t b) { return items[a].length != items[b].length ? items[a].length < items[b].length : a < b; });
    for (uint32_t i = 0; i < sorted_.size(); ++i) {
      const Item& item = items[sorted_[i]];
      units_.push_back({item.length, 1, std::max(item.rows, item.length) - item.length, i, i + 1});
    }
  }
  cut(0, units_.size(), [&](const BatchShape& shape) { return costs.alpha(shape); });
  size_t begin = 0;
  for (const uint32_t end : cuts_) {
    emit(items, std::span(units_).subspan(begin, end - begin), costs, schedule);
    begin = end;
  }
}

}  // namespace pets::serving
