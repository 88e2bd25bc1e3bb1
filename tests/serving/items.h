// Random queues and cost models for the tests of batching.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "runtime/serving/batching.h"

namespace pets::serving {

inline constexpr Strategy kAllStrategies[] = {Strategy::kPacked, Strategy::kCoordinated, Strategy::kAlpha, Strategy::kBeta,
                                              Strategy::kFixed};
inline constexpr Nanoseconds kMillisecond = 1'000'000;

/// A seed of each run, printed where it fails.
inline uint64_t new_seed() {
  const uint64_t seed = std::random_device()();
  ::testing::Test::RecordProperty("seed", std::to_string(seed));
  std::printf("seed %lu\n", static_cast<unsigned long>(seed));
  return seed;
}

/// Seconds like a device's: linear in strips with a start, bent up or down by `power`, with what queries and attention take.
inline CostModel random_costs(std::mt19937_64& random, double power = 1) {
  std::uniform_real_distribution<double> share(0, 1);
  const double start = 1e-3 * share(random), strip = 1e-3 * (0.2 + share(random)), query = 1e-5 * share(random),
               pair = 1e-8 * share(random);
  std::vector<AlphaPoint> points;
  for (uint32_t rows = 16; rows <= 4096; rows *= 2) {
    for (uint32_t length = 16; length <= std::min(rows, 512U); length *= 4) {
      const uint32_t queries = rows / length;
      points.push_back({queries, length, start + strip * std::pow(rows / 16.0, power) + query * queries + pair * rows * length});
    }
  }
  return CostModel(points, {});
}

struct Queue {
  uint32_t items = 10, tasks = 4, longest = 128;
  double fan_outs = 0, priorities = 0, deadlines = 0;  // shares of the items
  Nanoseconds now = 1'000'000'000, span = 200 * kMillisecond;
};

inline std::vector<Item> random_items(std::mt19937_64& random, const Queue& queue) {
  std::uniform_real_distribution<double> share(0, 1);
  std::vector<TaskCost> costs(queue.tasks);
  for (TaskCost& cost : costs) cost = {2e-4 * share(random), 2e-5 * share(random)};
  std::vector<Item> items(queue.items);
  for (uint32_t i = 0; i < queue.items; ++i) {
    Item& item = items[i];
    item.slot = i;
    item.task = static_cast<uint32_t>(random() % queue.tasks);
    item.length = item.rows = 1 + static_cast<uint32_t>(random() % queue.longest);
    item.cost = costs[item.task];
    if (share(random) < queue.fan_outs) item.rows += static_cast<uint32_t>(random() % (4 * queue.longest));
    if (share(random) < queue.priorities) item.priority = static_cast<int32_t>(random() % 5) - 2;
    item.arrival = queue.now - static_cast<Nanoseconds>(random() % static_cast<uint64_t>(queue.span));
    if (share(random) < queue.deadlines)
      item.deadline = queue.now + static_cast<Nanoseconds>(random() % static_cast<uint64_t>(queue.span)) - queue.span / 10;
  }
  std::shuffle(items.begin(), items.end(), random);  // slots are not positions
  return items;
}

inline const Item& with_slot(const std::vector<Item>& items, uint32_t slot) {
  return *std::find_if(items.begin(), items.end(), [&](const Item& item) { return item.slot == slot; });
}

/// A padded batch as the engine runs it.
inline BatchShape padded_shape(const std::vector<const Item*>& batch) {
  uint32_t longest = 0;
  for (const Item* item : batch) longest = std::max(longest, item->length);
  BatchShape shape;
  for (const Item* item : batch) shape.rows += longest + std::max(item->rows, item->length) - item->length;
  shape.queries = static_cast<uint32_t>(batch.size());
  shape.pairs = static_cast<double>(shape.rows) * longest;
  return shape;
}

}  // namespace pets::serving
