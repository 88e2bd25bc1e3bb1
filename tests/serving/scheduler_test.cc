// The scheduler: every item runs once, in batches within their limits, whatever leaves and comes while a schedule is run.
#include "runtime/serving/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace pets::serving {
namespace {

constexpr Strategy kEveryStrategy[] = {Strategy::kPacked, Strategy::kCoordinated, Strategy::kAlpha, Strategy::kBeta, Strategy::kFixed};

CostModel some_costs() {
  const std::vector<AlphaPoint> points{{1, 16, 2e-4}, {1, 64, 3e-4}, {4, 64, 9e-4}, {16, 64, 3.4e-3}};
  return CostModel(points, {});
}

class SchedulerOf : public testing::TestWithParam<Strategy> {};

TEST_P(SchedulerOf, ItemsThatTakeAFreedPlaceAreNotInTheScheduleOfTheOneBefore) {
  BatchingOptions options;
  options.limits = {256, 64};
  options.items = 64;
  Scheduler scheduler(GetParam(), options, some_costs());
  Item item;
  for (uint32_t slot = 0; slot < 60; ++slot) {
    item.slot = slot;
    item.length = item.rows = 8;
    item.task = slot % 3;
    scheduler.add(item);
  }
  Scheduler::Batch batch;
  ASSERT_TRUE(scheduler.next(0, batch));
  std::vector<uint32_t> left;
  for (uint32_t slot = 0; slot < 60; ++slot) {
    if (scheduler.waits(slot)) left.push_back(slot);
  }
  for (const uint32_t slot : left) {
    scheduler.remove(slot);
    item.slot = slot;
    item.length = item.rows = 90;
    scheduler.add(item);
  }
  size_t ran = 0;
  while (scheduler.next(0, batch)) {
    EXPECT_LE(batch.slots.size() * 90, options.limits.rows);
    EXPECT_LE(batch.rows, options.limits.rows);
    ran += batch.slots.size();
  }
  EXPECT_EQ(ran, left.size());
}

TEST_P(SchedulerOf, EveryItemRunsOnceOrLeavesWithinTheLimits) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  BatchingOptions options;
  options.limits = {256, 16};
  options.items = 100;
  options.fixed_queries = 12;
  Scheduler scheduler(GetParam(), options, some_costs());
  std::map<uint32_t, Item> waiting;
  std::vector<uint32_t> free(options.items);
  for (uint32_t slot = 0; slot < options.items; ++slot) free[slot] = slot;
  Nanoseconds now = 0;
  uint64_t added = 0, gone = 0;
  Scheduler::Batch batch;
  const auto leave = [&](uint32_t slot) {
    ASSERT_EQ(waiting.erase(slot), 1U) << "it does not wait";
    free.push_back(slot);
    ++gone;
  };
  for (int step = 0; step < 4000; ++step) {
    now += static_cast<Nanoseconds>(random() % 1'000'000);
    const uint64_t what = random() % 10;
    if (what < 6 && !free.empty()) {
      const size_t at = random() % free.size();
      Item item;
      item.slot = free[at];
      free.erase(free.begin() + static_cast<std::ptrdiff_t>(at));
      item.task = static_cast<uint32_t>(random() % 5);
      item.length = 1 + static_cast<uint32_t>(random() % 90);
      item.rows = random() % 8 == 0 ? item.length * (1 + static_cast<uint32_t>(random() % 5)) : item.length;
      item.arrival = now;
      if (random() % 4 == 0) item.deadline = now + static_cast<Nanoseconds>(random() % 5'000'000);
      const int32_t priorities[] = {INT32_MIN, -1, 0, 0, 0, 1, INT32_MAX};
      item.priority = priorities[random() % 7];
      scheduler.add(item);
      waiting[item.slot] = item;
      ++added;
    } else if (what < 8 && !waiting.empty()) {
      const uint32_t slot = std::next(waiting.begin(), static_cast<std::ptrdiff_t>(random() % waiting.size()))->first;
      scheduler.remove(slot);
      scheduler.remove(slot);  // twice is nothing
      leave(slot);
    } else if (scheduler.next(now, batch)) {
      ASSERT_FALSE(batch.slots.empty());
      uint32_t longest = 0, rows = 0;
      for (const uint32_t slot : batch.slots) {
        ASSERT_EQ(waiting.count(slot), 1U) << "an item ran that does not wait";
        longest = std::max(longest, waiting[slot].length);
        // Padding fills up the length; a fan-out's rows beyond that come on top.
        rows += waiting[slot].rows + (batch.padded_length == 0 ? 0 : batch.padded_length - waiting[slot].length);
      }
      EXPECT_TRUE(batch.padded_length == 0 || batch.padded_length >= longest);
      EXPECT_EQ(rows, batch.rows);
      if (batch.slots.size() > 1) {
        EXPECT_LE(batch.rows, options.limits.rows);
        EXPECT_LE(batch.slots.size(), options.limits.queries);
      }
      for (const uint32_t slot : batch.slots) leave(slot);
      scheduler.finished(batch, batch.predicted_seconds * (0.5 + static_cast<double>(random() % 100) / 100));
    } else {
      ASSERT_TRUE(waiting.empty());
    }
    ASSERT_EQ(scheduler.waiting().size(), waiting.size());
  }
  while (scheduler.next(now, batch)) {
    for (const uint32_t slot : batch.slots) leave(slot);
  }
  EXPECT_EQ(added, gone);
}

INSTANTIATE_TEST_SUITE_P(Each, SchedulerOf, testing::ValuesIn(kEveryStrategy),
                         [](const auto& test) { return std::string(strategy_name(test.param)); });

TEST(PackedScheduler, ARareTaskRunsWithinPatienceUnderAnEndlessStream) {
  // packed_batching.h: every query becomes pressing, then the most pressing of all but for those of a higher priority. So it begins to run
  // at most a batch after the queue that was there when its virtual deadline came, whose queries are as pressing, is through.
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  BatchingOptions options;
  options.limits = {256, 64};
  options.items = 256;
  options.patience_seconds = 0.05;
  const auto patience = static_cast<Nanoseconds>(options.patience_seconds * 1e9);
  for (const bool with_deadlines : {false, true}) {
    Scheduler scheduler(Strategy::kPacked, options, some_costs());
    std::vector<uint32_t> free;
    for (uint32_t slot = 1; slot < options.items; ++slot) free.push_back(slot);
    Nanoseconds now = 0, longest_wait = 0, slowest = 0;
    Item rare;
    rare.task = 1000;
    rare.length = rare.rows = 20;
    bool waits = false;
    uint32_t rounds = 0;
    while (rounds < 20) {
      while (!free.empty()) {  // as many come as there is room for
        Item item;
        item.slot = free.back();
        free.pop_back();
        item.task = static_cast<uint32_t>(random() % 3);
        item.length = item.rows = 1 + static_cast<uint32_t>(random() % 60);
        item.arrival = now;
        if (with_deadlines && random() % 2 == 0) item.deadline = now + 1 + static_cast<Nanoseconds>(random() % 3'000'000);
        scheduler.add(item);
      }
      if (!waits) {
        rare.arrival = now;
        scheduler.add(rare);
        waits = true;
      }
      Scheduler::Batch batch;
      for (const Item& item : std::vector<Item>(scheduler.waiting().begin(), scheduler.waiting().end())) {
        if (item.deadline > now) continue;
        scheduler.remove(item.slot);
        free.push_back(item.slot);
      }
      if (!scheduler.next(now, batch)) continue;
      for (const uint32_t slot : batch.slots) {
        if (slot == 0) {
          longest_wait = std::max(longest_wait, now - rare.arrival);
          waits = false;
          ++rounds;
        } else {
          free.push_back(slot);
        }
      }
      const auto took = static_cast<Nanoseconds>(batch.predicted_seconds * 1e9);
      slowest = std::max(slowest, took);
      now += std::max<Nanoseconds>(took, 1);
      ASSERT_LT(now, Nanoseconds{1} << 40) << "it starves";
    }
    // A whole queue of 256 queries with up to 60 tokens is about 60 batches of 256 rows.
    EXPECT_LE(longest_wait, patience + 62 * slowest) << with_deadlines;
    std::printf("waited %.2f ms at most, patience %.0f ms, slowest batch %.2f ms\n", static_cast<double>(longest_wait) * 1e-6,
                static_cast<double>(patience) * 1e-6, static_cast<double>(slowest) * 1e-6);
  }
}

TEST(PackedScheduler, ALoneQueryRunsAtOnce) {
  BatchingOptions options;
  options.items = 4;
  Scheduler scheduler(Strategy::kPacked, options, some_costs());
  for (const int32_t priority : {INT32_MIN, 0, INT32_MAX}) {
    Item item;
    item.slot = 3;
    item.length = item.rows = 5;
    item.priority = priority;
    item.arrival = 17;
    scheduler.add(item);
    Scheduler::Batch batch;
    ASSERT_TRUE(scheduler.next(17, batch));
    ASSERT_EQ(batch.slots.size(), 1U);
    EXPECT_EQ(batch.slots[0], 3U);
  }
}

}  // namespace
}  // namespace pets::serving
