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
  SessionOptions untuned;
  untuned.device_tuning = false;
  const auto graphs = session(untuned), launches = session(plain());
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

TEST_F(CudaLaunches, TunedProductsGiveTheSameSumsEveryTime) {
  const auto tuned = session(), launches = session(plain());
  ASSERT_TRUE(tuned != nullptr && launches != nullptr);
  const auto queries = mix_.queries(3 * mix_.tasks.size(), 10);
  const auto expected = run_all(*launches, queries);
  EXPECT_LE(largest_error(queries, run_all(*tuned, queries), expected), kReordered);
  const auto replayed = run_all(*tuned, queries);
  EXPECT_EQ(tuned->device_counters().captures, 1U);
  EXPECT_LE(largest_error(queries, replayed, expected), kReordered) << "another order of the same sums at most";
  for (int time = 0; time < 3; ++time) EXPECT_EQ(run_all(*tuned, queries), replayed);
}

TEST_F(CudaLaunches, AGraphServesAnyMixOfTasksThatWereThere) {
  const auto graphs = session(), launches = session(plain());
  ASSERT_TRUE(graphs != nullptr && launches != nullptr);
  // Queries of every task, so that all of them have been there; then mixes of so many rows and read rows. Three of each: one logit near
  // zero would decide what its task's error is a part of.
  const size_t count = 3 * mix_.tasks.size();
  for (int batch = 0; batch < (cuda_mix::kSlow ? 4 : 6); ++batch) {
    auto queries = mix_.queries(count, 1);
    for (size_t i = 0; i < count; ++i) {
      mix_.ids[i].assign(4, static_cast<int32_t>(mix_.random() % 200));
      queries[i].ids = mix_.ids[i];
      if (batch > 1) queries[i].task = mix_.tasks[mix_.random() % mix_.tasks.size()].name;
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
  for (size_t kind = 0; kind < mix_.tasks.size(); kind += cuda_mix::kSlow ? 2 : 1) {  // one after another
    const converter::PetTask& task = mix_.tasks[kind];
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

TEST_F(CudaLaunches, ATaskThatCameWithOneThatDoesNotFitMakesNewGraphsToo) {
  std::vector<converter::PetTask> tasks;
  testing_util::PetOptions large;
  large.bottleneck = 256;
  tasks.push_back(testing_util::random_task(mix_.base, testing_util::PetKind::kNone, converter::HeadType::kRegression, "a", 1));
  tasks.push_back(testing_util::random_task(mix_.base, testing_util::PetKind::kLoraQueryValue, converter::HeadType::kRegression, "b", 2));
  tasks.push_back(testing_util::random_task(mix_.base, testing_util::PetKind::kHoulsby, converter::HeadType::kRegression, "c", 3, large));
  testing_util::write_random_bundle(file_.path(), mix_.base, tasks);
  SessionOptions options;
  options.device_task_bytes = 100 << 10;
  const auto graphs = session(options);
  options.device_graphs = false;
  const auto launches = session(options);
  ASSERT_TRUE(graphs != nullptr && launches != nullptr);
  const std::vector<int32_t> ids(5, 7);
  const auto query = [&](const char* task) {
    Query made;
    made.task = task;
    made.ids = ids;
    made.has_ids = true;
    return made;
  };
  const std::vector<Query> first{query("a"), query("a")}, then{query("b"), query("c")};
  for (int time = 0; time < 3; ++time) run_all(*graphs, first);
  EXPECT_EQ(graphs->device_counters().captures, 1U);
  const auto answers = [&](Session& session) {
    std::vector<float> logits;
    EXPECT_TRUE(session.run(then, [&](size_t index, const Answer& answer) {
      EXPECT_EQ(answer.status.is_ok(), index == 0) << answer.status.c_str();
      logits.insert(logits.end(), answer.logits.begin(), answer.logits.end());
    }));
    return logits;
  };
  const auto expected = answers(*launches);
  ASSERT_EQ(expected.size(), 1U);
  for (int time = 0; time < 3; ++time) EXPECT_NEAR(answers(*graphs)[0], expected[0], kReordered * std::abs(expected[0]));
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
    if (cuda_mix::kSlow && streams != 3) continue;
    SessionOptions options;
    options.operator_streams = streams;
    const auto spread = session(options);
    ASSERT_NE(spread, nullptr);
    for (int time = 0; time < 2; ++time) EXPECT_EQ(run_all(*spread, queries), expected) << streams << " streams";
    EXPECT_EQ(spread->device_counters().captures, 0U);
  }
}

TEST_F(CudaLaunches, MoreStreamsThanThereAreAreRefused) {
  const auto model = model_of(file_.path(), Backend::kCuda);
  ASSERT_NE(model, nullptr);
  SessionOptions options;
  options.operator_streams = 33;
  const auto session = Session::create(model, options);
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

cuda::LaunchExtents extents(uint32_t rows, uint32_t read_rows) {
  cuda::LaunchExtents made;
  made.rows = rows;
  made.read_rows = read_rows;
  return made;
}

TEST(GraphCache, ForgetsWhatWasNotUsedForLongest) {
  cuda::GraphCache cache(3);
  for (const uint32_t rows : {1U, 2U, 3U}) cache.find(extents(rows, 0)).times = 1;
  EXPECT_EQ(cache.find(extents(1, 0)).times, 1U);
  EXPECT_EQ(cache.find(extents(4, 0)).times, 0U);  // in the place of 2
  EXPECT_EQ(cache.find(extents(3, 0)).times, 1U);
  EXPECT_EQ(cache.find(extents(1, 0)).times, 1U);
  EXPECT_EQ(cache.find(extents(2, 0)).times, 0U);
  EXPECT_EQ(cache.find(extents(1, 1)).times, 0U) << "other extents";
  cache.clear();
  EXPECT_EQ(cache.find(extents(1, 0)).times, 0U);
}

TEST(GraphCache, AGraphServesBatchesOfFewerFamilies) {
  struct Captured final : cuda::Graph {};
  cuda::GraphCache cache(4);
  const auto of = [](uint32_t families, bool apart) {
    cuda::LaunchExtents made = extents(32, 0);
    made.families = families;
    made.families_apart = apart;
    return made;
  };
  const auto add = [&](uint32_t families, bool apart) {
    auto& entry = cache.find(of(families, apart));
    entry.graph = std::make_unique<Captured>();
    return entry.graph.get();
  };
  EXPECT_EQ(cache.covering(of(0, true)), nullptr);
  const cuda::Graph* const three = add(0b0111, true);
  const cuda::Graph* const four = add(0b1111, false);
  EXPECT_EQ(cache.covering(of(0b0101, true)), three);
  EXPECT_EQ(cache.covering(of(0b0101, false)), four) << "in order, where a task has operators of two families";
  EXPECT_EQ(cache.covering(of(0b1001, true)), four);
  EXPECT_EQ(cache.covering(of(0b10000, true)), nullptr);
  cuda::LaunchExtents more_rows = of(0b0101, true);
  more_rows.rows = 64;
  EXPECT_EQ(cache.covering(more_rows), nullptr);
}

TEST(StreamSchedule, GivesTheLongestTasksTheEmptiestStreams) {
  std::vector<engine::Task> tasks(4);
  const uint32_t rows[] = {4, 7, 5, 3};
  memory::Arena counting;
  engine::PackedBatch batch;
  batch.lay_out(counting, 64, 8);
  const auto block = memory::Block::allocate(counting.used());
  ASSERT_TRUE(block);
  memory::Arena arena(block->data(), block->size());
  batch.lay_out(arena, 64, 8);
  batch.clear();
  std::vector<uint16_t> slots;
  uint32_t tokens = 0;
  for (uint16_t i = 0; i < 4; ++i) {
    for (uint32_t part = 0; part < 2; ++part) {  // two sequences a task
      engine::Sequence sequence;
      sequence.query = static_cast<uint32_t>(batch.sequences().size());
      sequence.task = &tasks[i];
      sequence.rows = sequence.tokens = part == 0 ? 1 : rows[i] - 1;
      sequence.token_begin = tokens;
      tokens += sequence.rows;
      batch.append(sequence);
    }
  }
  batch.group();
  for (const engine::Sequence& sequence : batch.sequences()) slots.push_back(static_cast<uint16_t>(5 - (sequence.task - tasks.data())));
  cuda::StreamSchedule schedule(2, 6, 8);
  const cuda::BatchTables tables;
  schedule.plan(batch, slots.data(), tables);
  const auto stream = [&](uint16_t task) { return schedule.task(static_cast<uint16_t>(5 - task)).stream; };
  EXPECT_NE(stream(1), stream(2));  // 7 | 5, then 4 to the 5, then 3 to the 7
  EXPECT_EQ(stream(0), stream(2));
  EXPECT_EQ(stream(3), stream(1));
}

}  // namespace
}  // namespace pets
