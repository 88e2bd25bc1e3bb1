// The application's own pool: what a session asks of it, and that the answers are those of the library's pool.
#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "tests/testing_util/random_model.h"

#include "pets/pets.h"

namespace pets {
namespace {

using testing_util::PetKind;

/// One thread a call, and a record of what was asked.
class OwnPool final : public ThreadPool {
 public:
  explicit OwnPool(uint32_t threads) : threads_(threads) {}
  uint32_t threads() const noexcept override { return threads_; }
  void run(void (*function)(void*, uint32_t), void* context, uint32_t count) noexcept override {
    EXPECT_FALSE(running_.exchange(true)) << "called from inside itself";
    EXPECT_GE(count, 1U);
    EXPECT_LE(count, threads_);
    ++regions;
    std::vector<std::thread> workers;
    for (uint32_t i = 1; i < count; ++i) workers.emplace_back(function, context, i);
    function(context, 0);
    for (std::thread& worker : workers) worker.join();
    running_ = false;
  }

  uint32_t regions = 0;

 private:
  uint32_t threads_;
  std::atomic<bool> running_{false};
};

std::vector<std::vector<float>> logits_of(Session& session, const std::vector<Query>& queries) {
  std::vector<std::vector<float>> logits;
  EXPECT_TRUE(session.run(queries, [&](size_t, const Answer& answer) {
    EXPECT_TRUE(answer.status) << answer.status.c_str();
    logits.emplace_back(answer.logits.begin(), answer.logits.end());
  }));
  return logits;
}

double process_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

TEST(LibraryPool, SleepsAfterARun) {
  const testing_util::ModelShape shape{64, 4, 2, 256, 211, 96, 2};  // enough for several workers
  const auto base = testing_util::random_base(shape, 12);
  const testing_util::TemporaryFile file("pool_rests.pets");
  testing_util::write_random_bundle(
      file.path(), base, {testing_util::random_task(base, PetKind::kNone, converter::HeadType::kSequenceClassification, "task", 1)});
  auto model = Model::load(file.c_str());
  ASSERT_TRUE(model) << model.status().c_str();
  SessionOptions options;
  options.threads = 2;
  auto session = Session::create(*model, options);
  ASSERT_TRUE(session) << session.status().c_str();
  const std::vector<int32_t> ids(96, 7);
  Query query;
  query.task = "task";
  query.ids = ids;
  query.has_ids = true;
  // pthreadpool's workers spin for some 20 ms where they are not told to sleep.
  double least = 1;
  for (int time = 0; time < 3; ++time) {
    ASSERT_EQ(logits_of(**session, {query}).size(), 1U);
    const double before = process_seconds();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    least = std::min(least, process_seconds() - before);
  }
  EXPECT_LT(least, 5e-3) << "seconds of the processor, after the run";
}

TEST(ApplicationPool, GivesTheSameAnswersInOneRegionAPhase) {
  const testing_util::ModelShape shape{64, 4, 2, 256, 211, 96, 2};
  const auto base = testing_util::random_base(shape, 11);
  std::vector<converter::PetTask> tasks;
  for (const PetKind kind : testing_util::kAllPetKinds) {
    tasks.push_back(testing_util::random_task(base, kind, converter::HeadType::kSequenceClassification, testing_util::pet_kind_name(kind),
                                              tasks.size() + 1));
  }
  const testing_util::TemporaryFile file("own_pool.pets");
  testing_util::write_random_bundle(file.path(), base, tasks);
  auto model = Model::load(file.c_str());
  ASSERT_TRUE(model) << model.status().c_str();
  const std::vector<int32_t> ids(40, 7);
  std::vector<Query> queries;
  for (uint32_t i = 0; i < 44; ++i) {
    Query query;
    query.task = tasks[i % tasks.size()].name;
    query.ids = std::span(ids).first(1 + 11 * i % 40);
    query.has_ids = true;
    queries.push_back(query);
  }
  auto plain = Session::create(*model, {.threads = 1});
  ASSERT_TRUE(plain) << plain.status().c_str();
  const auto expected = logits_of(**plain, queries);
  for (const uint32_t threads : {1U, 2U, 3U, 8U}) {
    SCOPED_TRACE(threads);
    OwnPool pool(threads);
    auto session = Session::create(*model, {.max_batch_tokens = 1024, .pool = &pool});
    ASSERT_TRUE(session) << session.status().c_str();
    EXPECT_EQ((*session)->threads(), threads);
    EXPECT_EQ(logits_of(**session, queries), expected);
    if (threads == 1) {
      EXPECT_EQ(pool.regions, 0U);  // nothing to hand out
    }
    // Many strips: attention and the rest of each layer; before them embeddings and the first query, key and value; after them the heads.
    if (threads == 2) {
      EXPECT_LE(pool.regions, 2 * base.layers + 4);
    }
    EXPECT_LE(pool.regions, 7 * base.layers + 4);  // few strips: linears are shared by panels, one after another
  }
}

}  // namespace
}  // namespace pets
