// How a batch's work reaches the device: captured graphs and streams give what plain launches give.
#include <gtest/gtest.h>

#include <string>

#include "tests/engine/cuda_mix.h"

#include "pets/pets.h"
#include "runtime/cuda/graph_cache.h"
#include "runtime/cuda/stream_schedule.h"

namespace pets {
namespace {

using cuda_mix::largest_error;
using cuda_mix::Mix;
using cuda_mix::run_all;
using cuda_mix::session_of;

constexpr double kReordered = 1e-5;  // float: the same sums in another order

class CudaLaunches : public testing::Test {
 protected:
  CudaLaunches() : seed_(std::random_device()()), mix_(seed_), file_("cuda_launches.pets") {
    testing_util::write_random_bundle(file_.path(), mix_.base, mix_.tasks);
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
  }
  std::unique_ptr<Session> session(SessionOptions options = {}) { return session_of(file_.path(), Backend::kCuda, options); }
  static SessionOptions plain() {
    SessionOptions options;
    options.device_graphs = false;
    return options;
  }

  uint64_t seed_;
  Mix mix_;
  testing_util::TemporaryFile file_;
};

TEST_F(CudaLaunches, ABatchThatComesAgainIsReplayed) {
  const auto graphs = session(), launches = session(plain());
  ASSERT_TRUE(graphs != nullptr && launches != nullptr);
  const auto queries = mix_.queries(3 * mix_.tasks.size(), 10);
  const auto expected = run_all(*launches, queries);
  EXPECT_EQ(launches->device_counters().batches, 1U);
  EXPECT_EQ(launches->device_counters().captures, 0U);
  const auto first = run_all(*graphs, queries);
  EXPECT_LE(largest_error(queries, first, expected), kReordered);
  EXPECT_EQ(graphs->device_counters().replays, 0U);
  for (uint64_t time = 1; time <= 3; ++time) {
    EXPECT_EQ(run_all(*graphs, queries), first) << "the same launches, the same bits";
    EXPECT_EQ(graphs->device_counters().captures, 1U);
    EXPECT_EQ(graphs->device_counters().replays, time);
  }
  EXPECT_GT(graphs->device_counters().host_seconds, 0);
}

TEST_F(CudaLaunches, AGraphServesAnyMixOfTasksThatWereThere) {
  const auto graphs = session(), launches = session(plain());
  ASSERT_TRUE(graphs != nullptr && launches != nullptr);
  // One query of every task, so that all of them have been there; then mixes of so many rows and read rows.
  SessionOptions one;
  const size_t count = mix_.tasks.size();
  for (int batch = 0; batch < 6; ++batch) {
    auto queries = mix_.queries(count, 1);
    for (size_t i = 0; i < count; ++i) {
      mix_.ids[i].assign(4, static_cast<int32_t>(mix_.random() % 200));
      queries[i].ids = mix_.ids[i];
      if (batch > 1) queries[i].task = mix_.tasks[mix_.random() % count].name;
    }
    EXPECT_LE(largest_error(queries, run_all(*graphs, queries), run_all(*launches, queries)), kReordered) << "batch " << batch;
  }
  // Rows that heads read differ by mix: their buckets may be two or three.
  const DeviceCounters counters = graphs->device_counters();
  EXPECT_GE(counters.replays, 1U);
  EXPECT_LE(counters.captures, 3U);
}

TEST_F(CudaLaunches, ATaskWithSomethingNewMakesNewGraphs) {
  const auto graphs = session(), launches = session(plain());
  ASSERT_TRUE(graphs != nullptr && launches != nullptr);
  for (const auto& task : mix_.tasks) {  // one kind after another
    auto queries = mix_.queries(4, 6);
    for (size_t i = 0; i < queries.size(); ++i) {
      mix_.ids[i].assign(6, static_cast<int32_t>(mix_.random() % 200));
      queries[i].ids = mix_.ids[i];
      queries[i].task = task.name;
    }
    const auto expected = run_all(*launches, queries);
    for (int time = 0; time < 3; ++time) {
      EXPECT_LE(largest_error(queries, run_all(*graphs, queries), expected), kReordered) << task.name << ", time " << time;
    }
  }
  EXPECT_GT(graphs->device_counters().captures, 1U);
}

TEST_F(CudaLaunches, OneQueryToAFullBatch) {
  SessionOptions options;
  options.max_batch_tokens = 150;  // no bucket's size
  const auto graphs = session(options);
  options.device_graphs = false;
  const auto launches = session(options);
  ASSERT_TRUE(graphs != nullptr && launches != nullptr);
  for (const size_t count : {size_t{1}, size_t{2}, size_t{9}, size_t{40}}) {
    const auto queries = mix_.queries(count, 12);
    const auto expected = run_all(*launches, queries);
    for (int time = 0; time < 2; ++time) {
      EXPECT_LE(largest_error(queries, run_all(*graphs, queries), expected), kReordered) << count << " queries, time " << time;
    }
  }
}

TEST_F(CudaLaunches, TasksOnStreamsAnswerAsGroupedOnes) {
  const auto grouped = session(plain());
  ASSERT_NE(grouped, nullptr);
  const auto queries = mix_.queries(3 * mix_.tasks.size(), 10);
  const auto expected = run_all(*grouped, queries);
  for (const uint32_t streams : {1U, 2U, 3U, 32U}) {
    SessionOptions options;
    options.operator_streams = streams;
    const auto spread = session(options);
    ASSERT_NE(spread, nullptr);
    for (int time = 0; time < 2; ++time) EXPECT_EQ(run_all(*spread, queries), expected) << streams << " streams";
    EXPECT_EQ(spread->device_counters().captures, 0U);
  }
}

TEST_F(CudaLaunches, MoreStreamsThanThereAreAreRefused) {
  ModelOptions model_options;
  model_options.backend = Backend::kCuda;
  auto model = Model::load(file_.c_str(), model_options);
  ASSERT_TRUE(model) << model.status().c_str();
  SessionOptions options;
  options.operator_streams = 33;
  const auto session = Session::create(*model, options);
  ASSERT_FALSE(session);
  EXPECT_EQ(session.status().message(), "operator_streams: expected 0 to 32, found 33");
}

TEST(BucketRows, CoverAndAreFew) {
  constexpr uint32_t kMost = 5000;
  std::vector<uint32_t> sizes;
  for (uint32_t rows = 1; rows <= kMost; ++rows) {
    const uint32_t bucket = cuda::bucket_rows(rows, kMost);
    EXPECT_GE(bucket, rows);
    EXPECT_LE(bucket, kMost);
    EXPECT_LE(bucket, std::max(rows + 31, rows + rows / 8)) << rows;
    EXPECT_EQ(cuda::bucket_rows(bucket, kMost), bucket);
    if (sizes.empty() || sizes.back() != bucket) sizes.push_back(bucket);
  }
  EXPECT_LE(sizes.size(), 60U);
  EXPECT_EQ(cuda::bucket_rows(2048, 2048), 2048U);
}

TEST(GraphCache, ForgetsWhatWasNotUsedForLongest) {
  cuda::GraphCache cache(3);
  for (const uint32_t rows : {1U, 2U, 3U}) cache.find({rows, 0, 1}).seen = true;
  EXPECT_TRUE(cache.find({1, 0, 1}).seen);
  EXPECT_FALSE(cache.find({4, 0, 1}).seen);  // in the place of 2
  EXPECT_TRUE(cache.find({3, 0, 1}).seen);
  EXPECT_TRUE(cache.find({1, 0, 1}).seen);
  EXPECT_FALSE(cache.find({2, 0, 1}).seen);
  EXPECT_FALSE(cache.find({1, 1, 1}).seen) << "other extents";
  cache.clear();
  EXPECT_FALSE(cache.find({1, 0, 1}).seen);
}

TEST(StreamSchedule, GivesTheLongestTasksTheEmptiestStreams) {
  std::vector<engine::Task> tasks(4);
  const uint32_t rows[] = {4, 7, 5, 3};
  std::vector<engine::Sequence> sequences;
  std::vector<uint16_t> slots;
  for (uint16_t i = 0; i < 4; ++i) {
    for (uint32_t part = 0; part < 2; ++part) {  // two sequences a task
      engine::Sequence sequence;
      sequence.task = &tasks[i];
      sequence.rows = part == 0 ? 1 : rows[i] - 1;
      sequences.push_back(sequence);
      slots.push_back(static_cast<uint16_t>(5 - i));
    }
  }
  cuda::StreamSchedule schedule(2, 6, 8);
  const cuda::BatchTables tables;
  schedule.plan(sequences, slots.data(), tables);
  const auto stream = [&](uint16_t task) { return schedule.task(static_cast<uint16_t>(5 - task)).stream; };
  EXPECT_NE(stream(1), stream(2));  // 7 | 5, then 4 to the 5, then 3 to the 7
  EXPECT_EQ(stream(0), stream(2));
  EXPECT_EQ(stream(3), stream(1));
}

}  // namespace
}  // namespace pets
