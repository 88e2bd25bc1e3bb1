// Every strategy against exhaustive search on small queues: where the cuts are optimal they are found, and how far from the best they are
// where they are not.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <map>
#include <numeric>

#include "tests/serving/items.h"

namespace pets::serving {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
using Batch = std::vector<const Item*>;
using BatchCost = std::function<double(const Batch&)>;

bool is_within(const BatchShape& shape, const BatchLimits& limits) {
  return shape.queries == 1 || (shape.rows <= limits.rows && shape.queries <= limits.queries);
}

/// Least cost over all ways to cut a sequence of units into contiguous parts; a part's cost may be infinite. `best`: the parts of each way
/// that costs so little, as ties are left open.
double best_contiguous(const std::vector<Batch>& units, const BatchCost& cost, std::vector<std::vector<Batch>>* best = nullptr) {
  constexpr double kTie = 1e-12;
  const size_t n = units.size();
  double least = kNever;
  for (uint64_t cuts = 0; cuts < uint64_t{1} << (n - 1); ++cuts) {
    std::vector<Batch> parts(1);
    for (size_t i = 0; i < n; ++i) {
      parts.back().insert(parts.back().end(), units[i].begin(), units[i].end());
      if (i + 1 < n && (cuts >> i & 1) != 0) parts.emplace_back();
    }
    double sum = 0;
    for (const Batch& part : parts) sum += cost(part);
    if (best != nullptr && sum < least - kTie) best->clear();
    if (best != nullptr && sum < least + kTie) best->push_back(parts);
    least = std::min(least, sum);
  }
  return least;
}

/// Least cost over all set partitions.
double best_partition(const std::vector<Item>& items, const BatchCost& cost) {
  std::vector<Batch> parts;
  double least = kNever;
  const std::function<void(size_t)> place = [&](size_t i) {
    if (i == items.size()) {
      double sum = 0;
      for (const Batch& part : parts) sum += cost(part);
      least = std::min(least, sum);
      return;
    }
    for (size_t p = 0; p < parts.size(); ++p) {
      parts[p].push_back(&items[i]);
      place(i + 1);
      parts[p].pop_back();
    }
    parts.push_back({&items[i]});
    place(i + 1);
    parts.pop_back();
  };
  place(0);
  return least;
}

std::vector<Batch> one_each(const std::vector<Item>& items, const std::function<bool(const Item&, const Item&)>& less) {
  std::vector<Batch> units;
  for (const Item& item : items) units.push_back({&item});
  std::stable_sort(units.begin(), units.end(), [&](const Batch& a, const Batch& b) { return less(*a[0], *b[0]); });
  return units;
}

bool shorter(const Item& a, const Item& b) { return a.length < b.length; }

std::map<uint32_t, std::vector<Item>> by_task(const std::vector<Item>& items) {
  std::map<uint32_t, std::vector<Item>> groups;
  for (const Item& item : items) groups[item.task].push_back(item);
  return groups;
}

std::vector<Batch> batches_of(const Schedule& schedule, const std::vector<Item>& items) {
  std::vector<Batch> batches;
  for (const Schedule::Batch& batch : schedule.batches) {
    batches.emplace_back();
    for (const uint32_t slot : schedule.slots(batch)) batches.back().push_back(&with_slot(items, slot));
  }
  return batches;
}

double sum_of(const std::vector<Batch>& batches, const BatchCost& cost) {
  return std::accumulate(batches.begin(), batches.end(), 0.0, [&](double sum, const Batch& batch) { return sum + cost(batch); });
}

struct Case {
  std::vector<Item> items;
  CostModel costs;
  BatchingOptions options;
  Schedule schedule;

  Case(std::mt19937_64& random, const Queue& queue, double power) : items(random_items(random, queue)), costs(random_costs(random, power)) {
    options.limits.rows = 64 + static_cast<uint32_t>(random() % 600);
    options.limits.queries = 1 + static_cast<uint32_t>(random() % 12);
    options.items = queue.items;
    options.fixed_queries = 1 + static_cast<uint32_t>(random() % 6);
    schedule.reserve(queue.items);
  }
  void plan(Strategy strategy, Nanoseconds now) { make_strategy(strategy, options)->plan(items, now, costs, schedule); }
  double padded_alpha(const Batch& batch) const {
    const BatchShape shape = padded_shape(batch);
    return is_within(shape, options.limits) ? costs.alpha(shape) : kNever;
  }
};

Queue small_queue(std::mt19937_64& random, uint32_t most) {
  Queue queue;
  queue.items = 1 + static_cast<uint32_t>(random() % most);
  queue.tasks = 1 + static_cast<uint32_t>(random() % 4);
  queue.fan_outs = random() % 3 == 0 ? 0.3 : 0;
  return queue;
}

constexpr double kPowers[] = {1, 0.8, 1.2};  // straight, concave, convex

TEST(StrategySearch, AlphaIsTheBestCutOfTheSortedOrder) {
  std::mt19937_64 random(new_seed());
  for (int round = 0; round < 150; ++round) {
    Case c(random, small_queue(random, 10), kPowers[round % 3]);
    c.plan(Strategy::kAlpha, 0);
    const BatchCost cost = [&](const Batch& batch) { return c.padded_alpha(batch); };
    ASSERT_NEAR(sum_of(batches_of(c.schedule, c.items), cost), best_contiguous(one_each(c.items, shorter), cost), 1e-12) << round;
  }
}

/// Without fan-outs and with a model whose batches cost more the more rows they have, some optimal partition is contiguous by length where
/// the curve is straight. Where it bends (measured curves do), another one may be better: how often, and by how much.
TEST(StrategySearch, AlphaIsNearTheBestOfAllPartitions) {
  std::mt19937_64 random(new_seed());
  for (const double power : kPowers) {
    int worse = 0, rounds = 40;
    double largest = 0;
    for (int round = 0; round < rounds; ++round) {
      Queue queue = small_queue(random, 8);
      queue.fan_outs = 0;
      Case c(random, queue, power);
      c.plan(Strategy::kAlpha, 0);
      const BatchCost cost = [&](const Batch& batch) { return c.padded_alpha(batch); };
      const double found = sum_of(batches_of(c.schedule, c.items), cost), best = best_partition(c.items, cost);
      ASSERT_GE(found, best - 1e-12);
      worse += found > best * (1 + 1e-9) ? 1 : 0;
      largest = std::max(largest, found / best - 1);
    }
    std::printf("alpha, rows to the power of %.1f: another partition is better in %d of %d, by %.2f %% at most\n", power, worse, rounds,
                largest * 100);
    EXPECT_LT(largest, 0.1);
  }
}

TEST(StrategySearch, BetaIsTheBestCutOfEachTask) {
  std::mt19937_64 random(new_seed());
  for (int round = 0; round < 150; ++round) {
    Case c(random, small_queue(random, 10), kPowers[round % 3]);
    c.plan(Strategy::kBeta, 0);
    const BatchCost cost = [&](const Batch& batch) {
      const BatchShape shape = padded_shape(batch);
      return c.padded_alpha(batch) + batch[0]->cost.seconds(shape.rows);
    };
    double best = 0;
    for (const auto& [task, items] : by_task(c.items)) best += best_contiguous(one_each(items, shorter), cost);
    const auto batches = batches_of(c.schedule, c.items);
    ASSERT_NEAR(sum_of(batches, cost), best, 1e-12) << round;
    double predicted = 0;
    for (const auto& batch : c.schedule.batches) predicted += batch.predicted_seconds;
    ASSERT_NEAR(predicted, best, 1e-12) << round;
    for (const Batch& batch : batches) {
      for (const Item* item : batch) ASSERT_EQ(item->task, batch[0]->task);
    }
  }
}

TEST(StrategySearch, CoordinatedIsTheBestOfEachOfItsSteps) {
  std::mt19937_64 random(new_seed());
  for (int round = 0; round < 150; ++round) {
    Case c(random, small_queue(random, 10), kPowers[round % 3]);
    c.options.padding_weight = round % 2;
    c.plan(Strategy::kCoordinated, 0);
    const BatchShape full = BatchShape::usual(c.costs.best_rows(c.options.limits.rows));
    const double padding = c.options.padding_weight * c.costs.alpha(full) / full.rows;
    const BatchCost first = [&](const Batch& batch) {
      const BatchShape shape = padded_shape(batch);
      return is_within(shape, c.options.limits) ? batch[0]->cost.seconds(shape.rows) + padding * shape.rows : kNever;
    };
    std::vector<std::vector<Batch>> choices(1);  // of mini-batches, for each way in which ties may have fallen
    const auto groups = by_task(c.items);
    for (const auto& [task, items] : groups) {
      std::vector<std::vector<Batch>> best, longer;
      best_contiguous(one_each(items, shorter), first, &best);
      for (const auto& choice : choices) {
        for (const auto& parts : best) {
          longer.push_back(choice);
          longer.back().insert(longer.back().end(), parts.begin(), parts.end());
        }
      }
      choices = longer;
    }
    const auto longest = [](const Batch& batch) {
      uint32_t length = 0;
      for (const Item* item : batch) length = std::max(length, item->length);
      return length;
    };
    const BatchCost second = [&](const Batch& batch) { return c.padded_alpha(batch); };
    const double found = sum_of(batches_of(c.schedule, c.items), second);
    double nearest = kNever;
    for (auto& mini_batches : choices) {
      std::stable_sort(mini_batches.begin(), mini_batches.end(), [&](const Batch& a, const Batch& b) { return longest(a) < longest(b); });
      nearest = std::min(nearest, std::abs(best_contiguous(mini_batches, second) - found));
    }
    ASSERT_LT(nearest, 1e-12) << round;
  }
}

TEST(StrategySearch, FixedTakesSoManyInTheOrderOfArrival) {
  std::mt19937_64 random(new_seed());
  for (int round = 0; round < 150; ++round) {
    Case c(random, small_queue(random, 40), 1);
    c.plan(Strategy::kFixed, 0);
    auto units = one_each(c.items, [](const Item& a, const Item& b) { return a.arrival < b.arrival; });
    std::vector<Batch> expected;
    for (const Batch& unit : units) {
      Batch with = expected.empty() ? Batch() : expected.back();
      with.push_back(unit[0]);
      const bool fits = with.size() <= c.options.fixed_queries && is_within(padded_shape(with), c.options.limits);
      if (expected.empty() || !fits) {
        expected.push_back(unit);
      } else {
        expected.back() = with;
      }
    }
    ASSERT_EQ(batches_of(c.schedule, c.items), expected) << round;
  }
}

/// Lateness and end of a sequence of packed batches.
struct Outcome {
  uint32_t late = 0;
  double seconds = 0;
  bool operator<(const Outcome& other) const { return late != other.late ? late < other.late : seconds < other.seconds; }
};

class PackedOutcome {
 public:
  PackedOutcome(const Case& c, Nanoseconds now) : c_(c), now_(now) {
    const uint32_t budget = c.costs.best_rows(c.options.limits.rows);
    most_rows_ = std::min(budget + budget / 2, c.options.limits.rows);
  }

  /// False where the batch may not be.
  bool add(const Batch& batch, Outcome& outcome) const {
    BatchSum sum;
    for (const Item* item : batch) sum.add(*item);
    if (!is_within(sum.shape(), {most_rows_, c_.options.limits.queries})) return false;
    outcome.seconds += sum.seconds(c_.costs);
    for (const Item* item : batch) {
      BatchSum alone;
      alone.add(*item);
      const bool possible = item->deadline >= ahead(alone.seconds(c_.costs));
      outcome.late += possible && item->deadline < ahead(outcome.seconds) ? 1 : 0;
    }
    return true;
  }

 private:
  Nanoseconds ahead(double seconds) const { return now_ + static_cast<Nanoseconds>(seconds * 1e9); }
  const Case& c_;
  Nanoseconds now_;
  uint32_t most_rows_ = 0;
};

TEST(StrategySearch, PackedIsNearTheBestCutOfItsOrder) {
  std::mt19937_64 random(new_seed());
  int with_deadlines = 0, worse = 0, later = 0;
  double longest = 0;
  for (int round = 0; round < 200; ++round) {
    Queue queue = small_queue(random, 10);
    queue.deadlines = round % 2;
    queue.span = 5 * kMillisecond << random() % 6;
    Case c(random, queue, kPowers[round % 3]);
    c.options.limits.rows = 400 + static_cast<uint32_t>(random() % 1000);  // the window is the whole queue
    c.plan(Strategy::kPacked, queue.now);
    if (c.schedule.order.size() != c.items.size()) continue;
    const PackedOutcome outcome(c, queue.now);
    Outcome found, best{UINT32_MAX, kNever};
    for (const Batch& batch : batches_of(c.schedule, c.items)) ASSERT_TRUE(outcome.add(batch, found));
    const size_t n = c.items.size();
    for (uint64_t cuts = 0; cuts < uint64_t{1} << (n - 1); ++cuts) {
      Outcome of;
      Batch batch;
      bool valid = true;
      for (size_t i = 0; i < n && valid; ++i) {
        batch.push_back(&with_slot(c.items, c.schedule.order[i]));
        if (i + 1 < n && (cuts >> i & 1) == 0) continue;
        valid = outcome.add(batch, of);
        batch.clear();
      }
      if (valid) best = std::min(best, of);
    }
    if (queue.deadlines == 0) {
      ASSERT_NEAR(found.seconds, best.seconds, 1e-12) << round;
      continue;
    }
    ++with_deadlines;
    worse += best.late < found.late || best.seconds < found.seconds - 1e-12 ? 1 : 0;
    later += best.late < found.late ? 1 : 0;
    ASSERT_LE(found.late, best.late + 1) << round;
    if (found.late == best.late) longest = std::max(longest, found.seconds / best.seconds - 1);
  }
  std::printf("packed, deadlines: another cut of its order is better in %d of %d, has fewer late in %d; else longer by %.2f %% at most\n",
              worse, with_deadlines, later, longest * 100);
  EXPECT_LT(longest, 0.25);
}

/// Against every order and every partition.
TEST(StrategySearch, PackedIsNearTheBestOfAllOrders) {
  std::mt19937_64 random(new_seed());
  for (const bool deadlines : {false, true}) {
    int rounds = 30, later = 0;
    double longest = 0, mean = 0;
    for (int round = 0; round < rounds; ++round) {
      Queue queue = small_queue(random, 6);
      queue.deadlines = deadlines ? 1 : 0;
      queue.span = 5 * kMillisecond << random() % 6;
      Case c(random, queue, kPowers[round % 3]);
      c.options.limits.rows = 600 + static_cast<uint32_t>(random() % 1000);
      c.plan(Strategy::kPacked, queue.now);
      if (c.schedule.order.size() != c.items.size()) continue;
      const PackedOutcome outcome(c, queue.now);
      Outcome found, best{UINT32_MAX, kNever};
      for (const Batch& batch : batches_of(c.schedule, c.items)) ASSERT_TRUE(outcome.add(batch, found));
      const std::function<void(uint32_t, Outcome)> search = [&](uint32_t left, Outcome so_far) {
        if (left == 0) {
          best = std::min(best, so_far);
          return;
        }
        for (uint32_t subset = left; subset != 0; subset = (subset - 1) & left) {
          Batch batch;
          for (uint32_t i = 0; i < c.items.size(); ++i) {
            if ((subset >> i & 1) != 0) batch.push_back(&c.items[i]);
          }
          std::sort(batch.begin(), batch.end(), [](const Item* a, const Item* b) { return a->task < b->task; });
          Outcome next = so_far;
          if (outcome.add(batch, next)) search(left & ~subset, next);
        }
      };
      search((1U << c.items.size()) - 1, {});
      ASSERT_FALSE(found.late < best.late);
      later += static_cast<int>(found.late - best.late);
      if (found.late != best.late) continue;
      longest = std::max(longest, found.seconds / best.seconds - 1);
      mean += (found.seconds / best.seconds - 1) / rounds;
    }
    std::printf("packed%s: %d late more than the best of all orders in %d queues; else longer by %.1f %% in the mean, %.1f %% at most\n",
                deadlines ? ", deadlines" : "", later, rounds, mean * 100, longest * 100);
    EXPECT_LE(later, deadlines ? rounds / 2 : 0);
    EXPECT_LT(longest, deadlines ? 0.6 : 0.35);
  }
}

}  // namespace
}  // namespace pets::serving
