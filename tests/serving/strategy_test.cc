// What holds for every strategy on large queues, and what packed batches promise: nobody starves, priorities, deadlines.
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <set>

#include "tests/serving/items.h"

namespace pets::serving {
namespace {

/// Checks one plan: limits, padded lengths, predictions, nobody twice.
void check_plan(const std::vector<Item>& items, const Schedule& schedule, const BatchingOptions& options, Strategy strategy,
                const CostModel& costs) {
  std::vector<const Item*> by_slot(8192);
  for (const Item& item : items) by_slot[item.slot] = &item;
  uint32_t next = 0;
  std::set<uint32_t> seen;
  for (const Schedule::Batch& batch : schedule.batches) {
    ASSERT_EQ(batch.begin, next);
    ASSERT_LT(batch.begin, batch.end);
    next = batch.end;
    uint32_t longest = 0, rows = 0;
    BatchSum sum(batch.padded_length);
    std::set<uint32_t> tasks;
    for (const uint32_t slot : schedule.slots(batch)) {
      ASSERT_NE(by_slot[slot], nullptr);
      ASSERT_TRUE(seen.insert(slot).second);
      const Item& item = *by_slot[slot];
      longest = std::max(longest, item.length);
      rows += item.rows;
      tasks.insert(item.task);
      sum.add(item);
    }
    if (strategy == Strategy::kPacked) {
      ASSERT_EQ(batch.padded_length, 0U);
      ASSERT_EQ(sum.shape().rows, rows);
    } else {
      ASSERT_EQ(batch.padded_length, longest);
    }
    if (strategy == Strategy::kBeta) {
      ASSERT_EQ(tasks.size(), 1U);
    }
    const uint32_t queries = batch.end - batch.begin;
    if (queries > 1) {
      ASSERT_LE(queries, options.limits.queries);
      ASSERT_LE(sum.shape().rows, options.limits.rows);
    }
    if (strategy == Strategy::kFixed) {
      ASSERT_LE(queries, options.fixed_queries);
    }
    ASSERT_NEAR(batch.predicted_seconds, sum.seconds(costs), 1e-9 + 1e-9 * batch.predicted_seconds);
    ASSERT_GE(batch.pet_seconds, 0);
    ASSERT_LE(batch.pet_seconds, batch.predicted_seconds);
  }
  ASSERT_EQ(next, schedule.order.size());
}

Nanoseconds after(Nanoseconds now, double seconds) { return now + static_cast<Nanoseconds>(seconds * 1e9); }

/// Runs until nothing waits; calls done(item, when) for every item.
template <typename Done>
void serve(BatchingStrategy& strategy, std::vector<Item> items, Nanoseconds now, const CostModel& costs, const Done& done) {
  Schedule schedule;
  schedule.reserve(static_cast<uint32_t>(items.size()));
  while (!items.empty()) {
    strategy.plan(items, now, costs, schedule);
    ASSERT_FALSE(schedule.batches.empty());
    std::set<uint32_t> ran;
    for (size_t b = 0; b < (strategy.replans() ? 1 : schedule.batches.size()); ++b) {
      now = after(now, schedule.batches[b].predicted_seconds);
      for (const uint32_t slot : schedule.slots(schedule.batches[b])) {
        ran.insert(slot);
        done(with_slot(items, slot), now);
      }
    }
    const size_t before = items.size();
    items.erase(std::remove_if(items.begin(), items.end(), [&](const Item& item) { return ran.count(item.slot) != 0; }), items.end());
    ASSERT_EQ(items.size() + ran.size(), before);
    if (!strategy.replans()) {
      ASSERT_TRUE(items.empty());
    }
  }
}

TEST(Strategies, EveryItemOnceWithinTheLimits) {
  std::mt19937_64 random(new_seed());
  for (const Strategy strategy : kAllStrategies) {
    for (const uint32_t count : {1U, 2U, 17U, 300U, 4096U}) {
      Queue queue;
      queue.items = count;
      queue.tasks = 1 + static_cast<uint32_t>(random() % 128);
      queue.longest = 1 + static_cast<uint32_t>(random() % 512);
      queue.fan_outs = 0.1;
      queue.priorities = queue.deadlines = 0.5;
      BatchingOptions options;
      options.items = count;
      options.limits.rows = 256 + static_cast<uint32_t>(random() % 2048);
      options.limits.queries = 1 + static_cast<uint32_t>(random() % 256);
      const CostModel costs = random_costs(random);
      SCOPED_TRACE(std::string(strategy_name(strategy)) + ", " + std::to_string(count));
      const auto made = make_strategy(strategy, options);
      auto items = random_items(random, queue);
      Schedule schedule;
      schedule.reserve(count);
      made->plan({}, queue.now, costs, schedule);
      ASSERT_TRUE(schedule.batches.empty());
      Nanoseconds now = queue.now;
      while (!items.empty()) {
        made->plan(items, now, costs, schedule);
        check_plan(items, schedule, options, strategy, costs);
        if (HasFatalFailure()) return;
        ASSERT_FALSE(schedule.batches.empty());
        if (!made->replans()) {
          ASSERT_EQ(schedule.order.size(), items.size());
          break;
        }
        const auto first = schedule.slots(schedule.batches[0]);
        const std::set<uint32_t> ran(first.begin(), first.end());
        now = after(now, schedule.batches[0].predicted_seconds);
        items.erase(std::remove_if(items.begin(), items.end(), [&](const Item& item) { return ran.count(item.slot) != 0; }), items.end());
      }
    }
  }
}

TEST(Strategies, ExtremesOfTimeAndPriorityDoNotOverflow) {
  std::mt19937_64 random(new_seed());
  constexpr Nanoseconds kTimes[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
  constexpr int32_t kPriorities[] = {INT32_MIN, -1, 0, 1, INT32_MAX};
  for (const Strategy strategy : kAllStrategies) {
    for (int round = 0; round < 60; ++round) {
      Queue queue;
      queue.items = 30;
      auto items = random_items(random, queue);
      for (Item& item : items) {
        item.arrival = kTimes[random() % std::size(kTimes)];
        item.deadline = kTimes[random() % std::size(kTimes)];
        item.priority = kPriorities[random() % std::size(kPriorities)];
      }
      BatchingOptions options;
      options.items = 30;
      options.patience_seconds = round % 3 == 0 ? 1e300 : round % 3 == 1 ? 1e-12 : 0;
      const CostModel costs = round % 4 == 0 ? CostModel() : random_costs(random);
      Schedule schedule;
      schedule.reserve(30);
      make_strategy(strategy, options)->plan(items, kTimes[random() % std::size(kTimes)], costs, schedule);
      ASSERT_FALSE(schedule.batches.empty());
      check_plan(items, schedule, options, strategy, costs);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(PackedBatching, HigherPrioritiesGoFirst) {
  std::mt19937_64 random(new_seed());
  for (int round = 0; round < 10; ++round) {
    Queue queue;
    queue.items = 400;
    queue.tasks = round % 2 == 0 ? 1 : 50;
    queue.priorities = 1;
    auto items = random_items(random, queue);
    BatchingOptions options;
    options.items = queue.items;
    if (round % 2 == 1) options.patience_seconds = 0.01;  // all are pressing: no task's queries wait for each other
    for (Item& item : items) item.arrival = queue.now - kMillisecond * 100;
    const CostModel costs = random_costs(random);
    const auto strategy = make_strategy(Strategy::kPacked, options);
    Nanoseconds done_at = 0;
    int32_t priority = INT32_MAX, batch_least = INT32_MAX;
    serve(*strategy, items, queue.now, costs, [&](const Item& item, Nanoseconds when) {
      if (when != done_at) priority = batch_least;  // nobody goes before who is more important, but in the same batch
      done_at = when;
      EXPECT_LE(item.priority, priority);
      batch_least = std::min(batch_least, item.priority);
    });
    if (HasFatalFailure() || HasFailure()) return;
  }
}

/// How many of the items in [0, `counted`) by slot are late.
uint32_t late_of(const std::vector<Item>& items, uint32_t counted, const CostModel& costs, Nanoseconds now) {
  BatchingOptions options;
  options.items = static_cast<uint32_t>(items.size());
  uint32_t late = 0;
  serve(*make_strategy(Strategy::kPacked, options), items, now, costs,
        [&](const Item& item, Nanoseconds when) { late += item.slot < counted && when > item.deadline ? 1 : 0; });
  return late;
}

TEST(PackedBatching, HopelessDeadlinesDoNotHurtOthers) {
  std::mt19937_64 random(new_seed());
  uint32_t alone_late = 0, with_late = 0;
  for (int round = 0; round < 20; ++round) {
    const CostModel costs = random_costs(random);
    Queue queue;
    queue.items = 300;
    queue.tasks = 20;
    auto items = random_items(random, queue);
    double total = 0;
    for (const Item& item : items) {
      BatchSum sum;
      sum.add(item);
      total += sum.seconds(costs);
    }
    for (Item& item : items)
      item.deadline = queue.now + static_cast<Nanoseconds>(total * 1e9 * static_cast<double>(1 + random() % 100) / 100);
    alone_late += late_of(items, 300, costs, queue.now);
    for (uint32_t i = 0; i < 300; ++i) {  // as many that are late already
      Item hopeless = items[i];
      hopeless.slot = 300 + i;
      hopeless.arrival = queue.now - static_cast<Nanoseconds>(random() % 1000);
      hopeless.deadline = queue.now - static_cast<Nanoseconds>(random() % 1000000);
      items.push_back(hopeless);
    }
    with_late += late_of(items, 300, costs, queue.now);
  }
  std::printf("late of 6000 that can be in time: %u alone, %u beside as many that cannot\n", alone_late, with_late);
  EXPECT_LE(with_late, alone_late + 6000 / 50);
}

/// Packed batches, asked again and again.
class Planner {
 public:
  explicit Planner(const BatchingOptions& options) : strategy_(make_strategy(Strategy::kPacked, options)) {
    schedule_.reserve(options.items);
  }
  /// Of the last call.
  const Schedule& plan(std::span<const Item> items, Nanoseconds now, const CostModel& costs) {
    strategy_->plan(items, now, costs, schedule_);
    return schedule_;
  }

 private:
  std::unique_ptr<BatchingStrategy> strategy_;
  Schedule schedule_;
};

/// Who waits in a deep queue is not held up by a large batch; who has a deadline, and who may come after such a one, is.
TEST(PackedBatching, DeepQueuesWithoutDeadlinesGetLargerBatches) {
  std::vector<AlphaPoint> points;
  for (uint32_t rows = 16; rows <= 4096; rows *= 2) points.push_back({1, rows, 2e-4 + 8e-4 * rows / 16});
  const CostModel costs(points, {});
  BatchingOptions options;
  options.limits = {4096, 4096};
  options.patience_seconds = 1;
  Planner planner(options);
  std::vector<Item> items(1000);
  for (uint32_t i = 0; i < items.size(); ++i) {
    items[i].slot = i;
    items[i].task = i / 8;
    items[i].length = items[i].rows = 32;
    items[i].cost = {1e-5, 1e-7};
    items[i].arrival = i;
  }
  const auto first_rows = [&](Nanoseconds now, std::span<const Item> of) {
    const Schedule::Batch& first = planner.plan(of, now, costs).batches.at(0);
    return 32 * (first.end - first.begin);
  };
  const uint32_t usual = costs.best_rows(options.limits.rows), deep = 32000 / 16;
  ASSERT_LT(3 * usual, deep);
  EXPECT_GT(first_rows(0, items), usual * 3 / 2);
  EXPECT_LE(first_rows(0, items), deep * 3 / 2);
  EXPECT_LE(first_rows(0, std::span(items).first(100)), usual * 3 / 2);  // a sixteenth of them is less

  items[500].deadline = 3600'000 * kMillisecond;
  EXPECT_LE(first_rows(kMillisecond, items), usual * 3 / 2);
  items[500].deadline = kNoDeadline;
  EXPECT_LE(first_rows(900 * kMillisecond, items), usual * 3 / 2);
  EXPECT_GT(first_rows(1100 * kMillisecond, items), usual * 3 / 2);
  items[500].priority = 1;
  EXPECT_LE(first_rows(1200 * kMillisecond, items), usual * 3 / 2);
}

/// Queries of few rows fill a batch by their number: the window, and with it the time to plan, ends there.
TEST(PackedBatching, TheWindowEndsWithFourBatchesOfQueries) {
  std::mt19937_64 random(new_seed());
  const CostModel costs = random_costs(random);
  BatchingOptions options;
  options.limits = {4096, 8};
  options.items = 4096;
  Queue queue;
  queue.items = options.items;
  queue.longest = 1;
  Planner planner(options);
  const Schedule& schedule = planner.plan(random_items(random, queue), queue.now, costs);
  EXPECT_LE(schedule.order.size(), 4 * 8U);
  EXPECT_EQ(schedule.batches.at(0).end, 8U);
}

/// A stream that fills the device, of queries more urgent than an old one of another task.
TEST(PackedBatching, NobodyStarves) {
  std::mt19937_64 random(new_seed());
  for (const double load : {0.9, 1.0, 1.3}) {
    const CostModel costs = random_costs(random);
    BatchingOptions options;
    options.items = 4096;
    Planner planner(options);
    const uint32_t budget = costs.best_rows(options.limits.rows);
    const double full_seconds = costs.alpha(BatchShape::usual(budget)), row_seconds = full_seconds / budget;
    const double patience = 10 * full_seconds;
    std::vector<Item> items;
    Nanoseconds now = 1000 * kMillisecond, next_arrival = now;
    const Nanoseconds started = now;
    uint32_t slot = 1;
    Item old;
    old.slot = 0;
    old.task = 1000;
    old.length = old.rows = 32;
    old.arrival = now;
    items.push_back(old);
    // Some full batches wait already, more urgent all.
    next_arrival -= static_cast<Nanoseconds>(4 * full_seconds * 1e9);
    double waited = -1;
    while (waited < 0 && now < started + static_cast<Nanoseconds>(100 * patience * 1e9)) {
      while (next_arrival <= now && items.size() < options.items) {
        Item item;
        item.slot = slot = slot % 8000 + 1;
        item.task = static_cast<uint32_t>(random() % 4);
        item.length = item.rows = 32;
        item.arrival = next_arrival;
        item.deadline = next_arrival + static_cast<Nanoseconds>(full_seconds * 3e9);
        items.push_back(item);
        next_arrival = after(next_arrival, 32 * row_seconds / load);
      }
      const Schedule& schedule = planner.plan(items, now, costs);
      ASSERT_FALSE(schedule.batches.empty());
      const auto first = schedule.slots(schedule.batches[0]);
      const std::set<uint32_t> ran(first.begin(), first.end());
      now = after(now, schedule.batches[0].predicted_seconds);
      if (ran.count(0) != 0) waited = static_cast<double>(now - started) * 1e-9;
      items.erase(std::remove_if(items.begin(), items.end(), [&](const Item& item) { return ran.count(item.slot) != 0; }), items.end());
    }
    std::printf("load %.1f: the old query waited %.1f full batches, patience is %.0f\n", load, waited / full_seconds,
                patience / full_seconds);
    ASSERT_GE(waited, 0);
    // Those before it arrived within its patience; what the device cannot take of them in that time is a backlog.
    EXPECT_LE(waited, patience * std::max(load, 1.0) * 1.1 + 8 * full_seconds);
    if (load > 1) {
      EXPECT_GE(waited, 0.5 * patience);  // else the test shows nothing
    }
  }
}

}  // namespace
}  // namespace pets::serving
