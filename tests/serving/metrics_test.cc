#include "runtime/serving/metrics.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "tests/serving/serving_test.h"

namespace pets::serving {
namespace {

BatchRecord batch(uint32_t queries) {
  BatchRecord record;
  record.start_ns = 1'000;
  record.end_ns = 1'000 + kMillisecond;
  record.queries = queries;
  record.rows = 10 * queries;
  record.padded_rows = queries;
  record.tasks = 2;
  record.queue_length = 5;
  record.predicted_seconds = 0.002;
  record.pet_seconds = 0.0005;
  return record;
}

TEST(Metrics, CountsQueriesByTaskAndOutcome) {
  const auto metrics = make_metrics(4);
  TaskMetrics& film = metrics->task("film");
  TaskMetrics& search = metrics->task("search");
  for (int i = 0; i < 6; ++i) metrics->on_submit(film);
  metrics->on_submit(search);
  metrics->on_refuse(search);
  metrics->on_answer(film, Outcome::kAnswered, 2 * kMillisecond, 10 * kMillisecond, 7);
  metrics->on_answer(film, Outcome::kAnswered, 4 * kMillisecond, 20 * kMillisecond, 8);
  metrics->on_answer(film, Outcome::kFailed, 1 * kMillisecond, 500 * kMillisecond, 0);
  metrics->on_answer(film, Outcome::kCancelled, 9 * kMillisecond, 500 * kMillisecond, 0);
  metrics->on_answer(film, Outcome::kDeadlineMissed, 90 * kMillisecond, 500 * kMillisecond, 0);
  metrics->on_answer(search, Outcome::kAnswered, 0, 30 * kMillisecond, 100);

  const MetricsSnapshot all = metrics->snapshot();
  ASSERT_EQ(all.tasks.size(), 2U);  // nothing went to "other"
  const TaskMetricsSnapshot& first = all.tasks[0];
  EXPECT_EQ(first.task, "film");
  EXPECT_EQ(first.queries.submitted, 6U);
  EXPECT_EQ(first.queries.answered, 2U);
  EXPECT_EQ(first.queries.failed, 1U);
  EXPECT_EQ(first.queries.cancelled, 1U);
  EXPECT_EQ(first.queries.deadline_missed, 1U);
  EXPECT_EQ(first.queries.refused, 0U);
  EXPECT_EQ(first.queries.tokens, 15U);
  EXPECT_EQ(first.wait.count, 5U);
  EXPECT_DOUBLE_EQ(first.wait.max_seconds, 0.090);
  EXPECT_EQ(first.latency.count, 2U);  // of what was answered
  EXPECT_DOUBLE_EQ(first.latency.mean_seconds, 0.015);
  EXPECT_NEAR(first.latency.p50_seconds, 0.010, 0.0001);
  EXPECT_NEAR(first.latency.p99_seconds, 0.020, 0.0002);
  EXPECT_DOUBLE_EQ(first.latency.max_seconds, 0.020);
  EXPECT_EQ(all.tasks[1].task, "search");
  EXPECT_EQ(all.tasks[1].queries.refused, 1U);
  EXPECT_EQ(all.queries.submitted, 7U);
  EXPECT_EQ(all.queries.answered, 3U);
  EXPECT_EQ(all.queries.refused, 1U);
  EXPECT_EQ(all.queries.tokens, 115U);
  EXPECT_EQ(all.queries_in_flight, 1U);
  EXPECT_EQ(all.latency.count, 3U);
  EXPECT_DOUBLE_EQ(all.latency.max_seconds, 0.030);
}

TEST(Metrics, ARefusalReportedAsAnOutcomeIsARefusal) {
  const auto metrics = make_metrics(1);
  metrics->on_answer(metrics->task("film"), Outcome::kRefused, 1, 1, 1);
  const MetricsSnapshot all = metrics->snapshot();
  EXPECT_EQ(all.queries.refused, 1U);
  EXPECT_EQ(all.queries.tokens, 0U);
  EXPECT_EQ(all.wait.count, 0U);
  EXPECT_EQ(all.queries_in_flight, 0U);
}

TEST(Metrics, CountsBatches) {
  const auto metrics = make_metrics(1);
  metrics->on_batch(batch(1));
  metrics->on_batch(batch(3));
  MetricsSnapshot all = metrics->snapshot();
  EXPECT_EQ(all.batches, 2U);
  EXPECT_DOUBLE_EQ(all.batch_queries.mean, 2);
  EXPECT_EQ(all.batch_queries.max, 3U);
  EXPECT_DOUBLE_EQ(all.batch_rows.mean, 20);
  EXPECT_DOUBLE_EQ(all.batch_tasks.mean, 2);
  EXPECT_EQ(all.padded_rows, 4U);
  EXPECT_DOUBLE_EQ(all.busy_seconds, 0.002);
  EXPECT_DOUBLE_EQ(all.predicted_seconds, 0.004);
  EXPECT_DOUBLE_EQ(all.pet_seconds, 0.001);
  EXPECT_DOUBLE_EQ(all.pet_share, 0.25);
  EXPECT_EQ(all.queue_length, 5U);
  metrics->on_queue_length(9);
  EXPECT_EQ(metrics->snapshot().queue_length, 9U);
}

TEST(Metrics, AbsurdBatchesDoNotSpoilTheSums) {
  const auto metrics = make_metrics(1);
  BatchRecord record = batch(UINT32_MAX);
  std::swap(record.start_ns, record.end_ns);
  record.predicted_seconds = std::numeric_limits<double>::quiet_NaN();
  record.pet_seconds = -1;
  metrics->on_batch(record);
  EXPECT_EQ(metrics->snapshot().busy_seconds, 0);
  EXPECT_EQ(metrics->snapshot().predicted_seconds, 0);
  EXPECT_EQ(metrics->snapshot().pet_share, 0);
  record.predicted_seconds = std::numeric_limits<double>::infinity();
  metrics->on_batch(record);
  EXPECT_TRUE(std::isfinite(metrics->snapshot().predicted_seconds));
  EXPECT_EQ(metrics->snapshot().batch_queries.max, UINT32_MAX);
}

TEST(Metrics, SeesTheProcess) {
  const MetricsSnapshot all = make_metrics(1)->snapshot();
  EXPECT_GT(all.resident_bytes, 100'000U);
  EXPECT_GT(all.minor_page_faults, 10U);
}

TEST(Metrics, ANameHasOneSlotForEver) {
  const auto metrics = make_metrics(500);
  std::vector<TaskMetrics*> slots;
  for (int i = 0; i < 500; ++i) slots.push_back(&metrics->task("task " + std::to_string(i)));
  EXPECT_EQ(metrics->tasks(), 500U);
  for (int i = 0; i < 500; ++i) {
    EXPECT_EQ(&metrics->task("task " + std::to_string(i)), slots[static_cast<size_t>(i)]);
    EXPECT_EQ(slots[static_cast<size_t>(i)]->name(), "task " + std::to_string(i));
  }
  std::sort(slots.begin(), slots.end());
  EXPECT_EQ(std::unique(slots.begin(), slots.end()), slots.end());
}

TEST(Metrics, NamesBeyondTheCapacityShareASlot) {
  const auto metrics = make_metrics(2);
  TaskMetrics* const first = &metrics->task("first");
  EXPECT_EQ(&metrics->task(std::string(257, 'n')), &metrics->other());  // longer than a bundle allows
  EXPECT_EQ(&metrics->task("other"), &metrics->other());
  EXPECT_EQ(metrics->tasks(), 1U);
  const std::string longest(256, 'n');
  EXPECT_EQ(metrics->task(longest).name(), longest);
  EXPECT_EQ(&metrics->task("third"), &metrics->other());
  EXPECT_EQ(&metrics->task("first"), first);
  metrics->on_submit(metrics->task("third"));
  metrics->on_submit(metrics->task("fourth"));
  const MetricsSnapshot all = metrics->snapshot();
  ASSERT_EQ(all.tasks.size(), 3U);
  EXPECT_EQ(all.tasks.back().task, "other");
  EXPECT_EQ(all.tasks.back().queries.submitted, 2U);
  const auto none = make_metrics(0);
  EXPECT_EQ(&none->task("any"), &none->other());
}

TEST(Metrics, SaysItsBytesBeforeItAllocatesThem) {
  for (const uint32_t max_tasks : {0U, 1U, 100U, Metrics::kDefaultMaxTasks}) {
    EXPECT_EQ(make_metrics(max_tasks)->bytes(), Metrics::bytes_needed(max_tasks));
  }
  EXPECT_LT(Metrics::bytes_needed(Metrics::kDefaultMaxTasks), 28U << 20);
  EXPECT_LT(Metrics::bytes_needed(0), 64U << 10);
  EXPECT_EQ(Metrics::create(Metrics::kMostTasks + 1).status().code(), ErrorCode::kInvalidArgument);
}

TEST(Metrics, CountingDoesNotAllocate) {
  const auto metrics = make_metrics(3);
  const std::vector<std::string> names = {"a", "a name that is too long to be kept inside a string", "c", "beyond the capacity"};
  EXPECT_EQ(allocations_of([&] {
              for (const std::string& name : names) {
                TaskMetrics& task = metrics->task(name);
                metrics->on_submit(task);
                metrics->on_refuse(task);
                for (uint32_t outcome = 0; outcome < kOutcomes; ++outcome) metrics->on_answer(task, static_cast<Outcome>(outcome), 1, 2, 3);
                metrics->on_batch(batch(1));
                metrics->on_queue_length(1);
              }
            }),
            0);
}

TEST(Metrics, ManyThreadsClaimAndCountWhileOneReads) {
  PETS_SEEDED_RANDOM(random);
  constexpr uint32_t kThreads = 4, kNames = 40, kSlots = 30;
  const auto queries = static_cast<uint64_t>(1000 * kEffort);
  const auto metrics = make_metrics(kSlots);
  write_and_read(
      kThreads,
      [&](uint32_t thread) {
        std::mt19937_64 own(random_seed + thread);
        for (uint64_t i = 0; i < queries; ++i) {
          TaskMetrics& task = metrics->task("task " + std::to_string(own() % kNames));
          metrics->on_submit(task);
          metrics->on_answer(task, own() % 4 == 0 ? Outcome::kFailed : Outcome::kAnswered, own() % kMillisecond, own() % kMillisecond, 2);
          if (thread == 0) metrics->on_batch(batch(1));
        }
      },
      [&] {
        const MetricsSnapshot all = metrics->snapshot();
        EXPECT_LE(all.tasks.size(), kSlots + 1);
        for (const TaskMetricsSnapshot& task : all.tasks) {
          EXPECT_TRUE(task.task.starts_with("task ") || task.task == "other") << task.task;
          EXPECT_LE(task.queries.answered + task.queries.failed, task.queries.submitted);
          EXPECT_LE(task.latency.p50_seconds, task.latency.p99_seconds);
          EXPECT_LE(task.latency.p99_seconds, task.latency.max_seconds);
        }
        EXPECT_LE(all.queries_in_flight, kThreads);
      });
  const MetricsSnapshot all = metrics->snapshot();
  EXPECT_EQ(all.queries.submitted, kThreads * queries);
  EXPECT_EQ(all.queries.answered + all.queries.failed, kThreads * queries);
  EXPECT_EQ(all.queries.tokens, 2 * kThreads * queries);
  EXPECT_EQ(all.wait.count, kThreads * queries);
  EXPECT_EQ(all.latency.count, all.queries.answered);
  EXPECT_EQ(all.batches, queries);
  EXPECT_EQ(all.tasks.size(), kSlots + 1);
}

TEST(Metrics, ThreadsThatSeeANameAtTheSameMomentGetOneSlot) {
  constexpr uint32_t kThreads = 2, kNames = 200;
  std::vector<std::string> names;
  for (uint32_t i = 0; i < kNames; ++i) names.push_back("task " + std::to_string(i));
  for (int round = 0; round < 3; ++round) {
    const auto metrics = make_metrics(2 * kNames);
    std::array<std::vector<TaskMetrics*>, kThreads> slots;
    std::atomic<uint32_t> turns{0};
    write_and_read(
        kThreads,
        [&](uint32_t thread) {
          for (uint32_t i = 0; i < kNames; ++i) {
            ++turns;  // in step: all claim name i at once
            while (turns < (i + 1) * kThreads) std::this_thread::yield();
            slots[thread].push_back(&metrics->task(names[i]));
          }
        },
        [] { std::this_thread::yield(); });
    EXPECT_EQ(metrics->tasks(), kNames);
    for (const auto& of_thread : slots) EXPECT_EQ(of_thread, slots[0]);
  }
}

/// Prints what a call costs; proves only that it is far below a microsecond, with room for a machine that is busy.
TEST(Metrics, ACallCostsFarLessThanAMicrosecond) {
#ifdef PETS_SLOW_BUILD
  GTEST_SKIP() << "times of a build with sanitizers or of an emulator say nothing";
#else
  const auto metrics = make_metrics(64);
  std::vector<std::string> names;
  for (int i = 0; i < 64; ++i) names.push_back("task-of-a-usual-length-" + std::to_string(i));
  for (const std::string& name : names) metrics->task(name);
  BatchTrace trace = BatchTrace::create(1024).value();
  const auto nanoseconds = [](const char* what, auto call) {
    constexpr uint32_t kCalls = 20'000;
    double best = std::numeric_limits<double>::infinity();
    for (int round = 0; round < 20; ++round) {
      const auto start = std::chrono::steady_clock::now();
      for (uint32_t i = 0; i < kCalls; ++i) call(i);
      best = std::min(best, std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() / kCalls);
    }
    std::printf("%-16s %6.1f ns\n", what, best);
    return best;
  };
  const BatchRecord record = batch(17);
  EXPECT_LT(nanoseconds("task", [&](uint32_t i) { metrics->task(names[i % 64]); }), 1000);
  EXPECT_LT(nanoseconds("on_submit", [&](uint32_t i) { metrics->on_submit(const_cast<TaskMetrics&>(metrics->task_at(i % 64))); }), 1000);
  EXPECT_LT(nanoseconds("on_answer",
                        [&](uint32_t i) {
                          metrics->on_answer(const_cast<TaskMetrics&>(metrics->task_at(i % 64)), Outcome::kAnswered, 1000 + i * 997,
                                             kMillisecond + i * 1997, 30);
                        }),
            1000);
  EXPECT_LT(nanoseconds("on_batch", [&](uint32_t) { metrics->on_batch(record); }), 1000);
  EXPECT_LT(nanoseconds("trace.record", [&](uint32_t) { trace.record(record); }), 1000);
#endif
}

}  // namespace
}  // namespace pets::serving
