// The library's pool, and the application's own: what a session asks of it, and that the answers are those of the library's pool.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
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

template <typename Work>
void run(ThreadPool& pool, uint32_t count, const Work& work) {
  pool.run([](void* context, uint32_t index) { (*static_cast<const Work*>(context))(index); }, const_cast<Work*>(&work), count);
}

TEST(LibraryPool, CallsEveryIndexOnceAndSeesWhatItWrote) {
  for (const uint32_t threads : {1U, 2U, 3U, 8U}) {
    SCOPED_TRACE(threads);
    auto pool = ThreadPool::create(threads);
    ASSERT_TRUE(pool) << pool.status().c_str();
    ASSERT_EQ((*pool)->threads(), threads);
    std::vector<uint32_t> calls(threads);
    uint32_t wrong = 0;
    for (uint32_t region = 0; region < 4000; ++region) {
      const uint32_t count = region % (threads + 1);
      std::fill(calls.begin(), calls.end(), 0);
      run(**pool, count, [&](uint32_t index) { ++calls.at(index); });
      for (uint32_t i = 0; i < threads; ++i) wrong += calls[i] != (i < count ? 1 : 0) ? 1 : 0;
      // From time to time long enough for the workers to fall asleep, or nearly.
      if (region % 100 == 99) std::this_thread::sleep_for(std::chrono::microseconds(100 + region % 300));
    }
    EXPECT_EQ(wrong, 0U);
  }
}

TEST(LibraryPool, ServesSeveralThreads) {
  auto pool = ThreadPool::create(3);
  ASSERT_TRUE(pool) << pool.status().c_str();
  std::atomic<uint32_t> calls{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      for (int region = 0; region < 1000; ++region) {
        uint32_t own[3] = {};
        run(**pool, 3, [&](uint32_t index) { own[index] = 1 + index; });
        calls += own[0] + own[1] + own[2];
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(calls, 3 * 1000 * (1 + 2 + 3));
}

/// Waits until both calls of a region of two have begun, so that two threads make them.
class Meeting {
 public:
  bool come() {
    ++present_;
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (present_ < 2 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    return present_ >= 2;
  }

 private:
  std::atomic<int> present_{0};
};

cpu_set_t processors_of_this_thread() {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
  return set;
}

/// Puts the calling thread's processors back at the end.
struct SameProcessorsAfter {
  cpu_set_t before = processors_of_this_thread();
  ~SameProcessorsAfter() { sched_setaffinity(0, sizeof(before), &before); }
};

void stay_on(int processor) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(processor, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
}

TEST(LibraryPool, ItsWorkersKeepOffTheCallersProcessorUntilSomebodyElsePlacesThem) {
  const SameProcessorsAfter same;
  std::vector<int> usable;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &same.before) != 0) usable.push_back(i);
  }
  if (usable.size() < 2) GTEST_SKIP() << "one processor";
  auto pool = ThreadPool::create(2);
  ASSERT_TRUE(pool) << pool.status().c_str();
  const pthread_t caller = pthread_self();
  /// The worker's processors, in a region before which it fell asleep; `then` is called by the worker.
  const auto of_worker = [&](const auto& then) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    Meeting meeting;
    cpu_set_t found;
    CPU_ZERO(&found);
    run(**pool, 2, [&](uint32_t) {
      EXPECT_TRUE(meeting.come());
      if (pthread_equal(pthread_self(), caller) != 0) return;
      found = processors_of_this_thread();
      then();
    });
    return found;
  };
  const auto nothing = [] {};
  for (int time = 0; time < 4; ++time) {
    const int own = usable[time % 2];
    stay_on(own);
    cpu_set_t others = same.before;
    CPU_CLR(own, &others);
    const cpu_set_t found = of_worker(nothing);
    EXPECT_TRUE(CPU_EQUAL(&found, &others)) << "time " << time << ", caller on " << own;
  }
  // As `taskset -ap` does.
  (void)of_worker([&] { sched_setaffinity(0, sizeof(same.before), &same.before); });
  for (int time = 0; time < 2; ++time) {
    stay_on(usable[time]);
    const cpu_set_t found = of_worker(nothing);
    EXPECT_TRUE(CPU_EQUAL(&found, &same.before)) << "time " << time;
  }
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
