// Workers that fail, queries that are cancelled or late, servers that go: nothing is lost, answered twice, silent or stuck.
#include "tests/serving/server_fixture.h"

namespace pets {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing_util::Tally;
using testing_util::Watchdog;

class ServerFault : public testing_util::ToldServerFixture {
 protected:
  ServerFault() { make_queries(16); }
};

TEST_F(ServerFault, ABatchThatFailsIsAnsweredWithItsErrorAndTheServerGoesOn) {
  const Watchdog watchdog("one failure");
  start();
  control_.failures = 1;
  Tally tally;
  ASSERT_TRUE(submit(queries_[0], Tally::count, &tally));
  ASSERT_TRUE(server_->drain());
  EXPECT_EQ(tally.internal, 1U);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(submit(queries_[0], Tally::count, &tally));
  ASSERT_TRUE(server_->drain());
  EXPECT_EQ(tally.ok, 20U);
  EXPECT_EQ(control_.restarts, 1U);
}

TEST_F(ServerFault, ThreeFailuresAreRestartedAGoodBatchForgivesThem) {
  const Watchdog watchdog("three failures");
  start();
  Tally tally;
  for (int round = 0; round < 3; ++round) {
    {
      const std::lock_guard<std::mutex> lock(control_.mutex);
      control_.failures = 3;
    }
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(submit(queries_[0], Tally::count, &tally));
      ASSERT_TRUE(server_->drain());
    }
  }
  EXPECT_EQ(tally.internal, 9U);
  EXPECT_EQ(tally.ok, 3U);
  EXPECT_EQ(control_.restarts, 9U);
}

TEST_F(ServerFault, AWorkerThatGivesUpAnswersWhatWaitsAndRefusesWithTheReason) {
  const Watchdog watchdog("fails for ever");
  for (const bool restarts_fail : {false, true}) {
    SCOPED_TRACE(restarts_fail);
    start();
    control_.failures = -1;
    control_.restarts_fail = restarts_fail;
    control_.restarts = 0;
    Tally tally;
    const size_t accepted = fill(Tally::count, &tally);
    // Those that wait for room are refused with the reason, too.
    std::atomic<int> refused{0};
    std::vector<std::thread> blocked;
    for (int i = 0; i < 4; ++i) {
      blocked.emplace_back([&] {
        for (;;) {
          const auto id = submit(queries_[0], Tally::count, &tally);
          if (id) continue;
          if (id.status().code() == ErrorCode::kUnavailable) ++refused;
          return;
        }
      });
    }
    control_.set_open(true);
    for (std::thread& thread : blocked) thread.join();
    EXPECT_EQ(refused, 4);
    ASSERT_TRUE(server_->drain());
    EXPECT_GE(tally.all(), accepted);
    EXPECT_EQ(tally.all(), tally.internal + tally.unavailable);
    EXPECT_GE(tally.internal, 1U);
    EXPECT_EQ(control_.restarts, restarts_fail ? 1U : 3U);
    const auto id = submit(queries_[0], Tally::count, &tally);
    EXPECT_EQ(id.status().code(), ErrorCode::kUnavailable);
    EXPECT_NE(id.status().message().find(restarts_fail ? "no device at all" : "failed again after each of 3 restarts"),
              std::string_view::npos)
        << id.status().c_str();
    const auto counts = counted().queries;
    EXPECT_EQ(counts.submitted, tally.all());
    EXPECT_EQ(counts.failed, tally.all());
    EXPECT_EQ(counts.refused, 5U);
    EXPECT_TRUE(server_->stop(true));
    server_.reset();
    control_.failures = 0;
  }
}

TEST_F(ServerFault, ACancelledFanOutLeavesTheQueueWhole) {
  // While its first member is told, the worker takes what is left: nothing of it may be among that.
  const Watchdog watchdog("cancelled fan-out");
  options_.max_queued = 64;
  start();
  Tally others;
  control_.set_open(false);
  ASSERT_TRUE(submit(queries_[0], Tally::count, &others));
  control_.wait_for_batch();
  // Places that come back in another order, so that a group's first member is not its lowest.
  std::vector<QueryId> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(*submit(queries_[1], Tally::count, &others));
  for (const QueryId id : ids) EXPECT_TRUE(server_->cancel(id));
  const std::vector<std::string_view> tasks(names_.begin(), names_.end());
  struct Context {
    testing_util::RunnerControl& control;
    Tally tally;
    std::atomic<uint32_t> ran_while_told{0};
    std::array<std::atomic<uint32_t>, 32> told{};
  } context{control_, {}, {}, {}};
  const auto id = server_->submit(
      tasks, queries_[0], {},
      [](void* at, QueryId, uint32_t part, const Answer& answer) {
        auto& all = *static_cast<Context*>(at);
        all.tally.add(answer.status);
        ++all.told[part];
        if (all.tally.all() != 1) return;
        all.control.set_open(true);  // the worker goes on and looks for more
        const auto end = steady_clock::now() + milliseconds(50);
        while (steady_clock::now() < end) std::this_thread::yield();
      },
      &context);
  ASSERT_TRUE(id) << id.status().c_str();
  EXPECT_EQ(server_->queued(), tasks.size());
  EXPECT_TRUE(server_->cancel(*id));
  EXPECT_FALSE(server_->cancel(*id));
  ASSERT_TRUE(server_->drain());
  EXPECT_EQ(context.tally.cancelled, tasks.size());
  EXPECT_EQ(context.tally.all(), tasks.size());
  for (size_t part = 0; part < tasks.size(); ++part) EXPECT_EQ(context.told[part], 1U);
  EXPECT_EQ(control_.ran(), 1U);
  EXPECT_EQ(others.cancelled, 20U);
  EXPECT_EQ(server_->queued(), 0U);
}

TEST_F(ServerFault, RunningAnsweredAndUnknownQueriesAreNotCancelled) {
  const Watchdog watchdog("cancel");
  start();
  Tally tally;
  control_.set_open(false);
  const auto running = submit(queries_[0], Tally::count, &tally);
  control_.wait_for_batch();
  EXPECT_FALSE(server_->cancel(*running));
  EXPECT_FALSE(server_->cancel(0));
  EXPECT_FALSE(server_->cancel(UINT64_MAX));
  const auto waiting = submit(queries_[1], Tally::count, &tally);
  EXPECT_TRUE(server_->cancel(*waiting));
  EXPECT_FALSE(server_->cancel(*waiting));
  control_.set_open(true);
  ASSERT_TRUE(server_->drain());
  EXPECT_FALSE(server_->cancel(*running));
  EXPECT_EQ(tally.ok, 1U);
  EXPECT_EQ(tally.cancelled, 1U);
}

TEST_F(ServerFault, BlockedSubmittersKeepNobodyFromADeadline) {
  const Watchdog watchdog("deadline behind blocked submitters");
  start();
  Tally tally;
  fill(Tally::count, &tally);
  std::vector<std::thread> blocked;
  for (int i = 0; i < 12; ++i) {  // more than can read at once
    blocked.emplace_back([&] { EXPECT_TRUE(submit(queries_[0], Tally::count, &tally)); });
  }
  std::this_thread::sleep_for(milliseconds(50));
  SubmitOptions soon;
  soon.deadline = steady_clock::now() + milliseconds(100);
  const auto late = submit(queries_[0], Tally::count, &tally, soon);
  EXPECT_EQ(late.status().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_LT(steady_clock::now() - soon.deadline, std::chrono::seconds(10));
  Query bad = queries_[0];
  bad.task = "nobody";
  EXPECT_EQ(submit(bad, Tally::count, &tally).status().code(), ErrorCode::kNotFound);
  control_.set_open(true);
  for (std::thread& thread : blocked) thread.join();
  ASSERT_TRUE(server_->drain());
  EXPECT_EQ(tally.ok, 20U);
}

TEST_F(ServerFault, AFanOutThatNeedsMuchRoomIsNotOvertakenForEver) {
  const Watchdog watchdog("fan-out that waits for room");
  options_.max_queued = static_cast<uint32_t>(names_.size());
  start();
  Tally tally, fan_out;
  std::atomic<bool> stop{false};
  std::vector<std::thread> stream;
  for (int i = 0; i < 3; ++i) {
    stream.emplace_back([&] {
      while (!stop) EXPECT_TRUE(submit(queries_[0], Tally::count, &tally));
    });
  }
  const std::vector<std::string_view> tasks(names_.begin(), names_.end());
  EXPECT_TRUE(server_->submit(tasks, queries_[0], {}, Tally::count, &fan_out));
  stop = true;
  for (std::thread& thread : stream) thread.join();
  ASSERT_TRUE(server_->drain());
  EXPECT_EQ(fan_out.ok, tasks.size());
}

TEST_F(ServerFault, DeadlinesAreMetOrTold) {
  const Watchdog watchdog("deadlines");
  start();
  Tally tally;
  SubmitOptions options;
  for (const auto past : {steady_clock::time_point::min(), steady_clock::time_point(), steady_clock::now()}) {
    options.deadline = past;
    EXPECT_EQ(submit(queries_[0], Tally::count, &tally, options).status().code(), ErrorCode::kDeadlineExceeded);
  }
  EXPECT_EQ(counted().queries.refused, 3U);
  for (const auto far : {steady_clock::time_point::max(), steady_clock::time_point::max() - std::chrono::nanoseconds(1)}) {
    for (const int32_t priority : {INT32_MIN, -1, 0, 1, INT32_MAX}) {
      options.deadline = far;
      options.priority = priority;
      EXPECT_TRUE(submit(queries_[0], Tally::count, &tally, options));
    }
  }
  ASSERT_TRUE(server_->drain());
  EXPECT_EQ(tally.ok, 10U);

  // While it waits in the queue, and while it waits for room: both before they ran.
  control_.set_open(false);
  ASSERT_TRUE(submit(queries_[0], Tally::count, &tally));
  control_.wait_for_batch();
  options.deadline = steady_clock::now() + milliseconds(50);
  for (uint32_t i = 1; i < options_.max_queued; ++i) ASSERT_TRUE(submit(queries_[1], Tally::count, &tally, options));
  EXPECT_EQ(submit(queries_[2], Tally::count, &tally, options).status().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_GE(steady_clock::now(), options.deadline);
  const uint32_t ran = control_.ran();
  control_.set_open(true);
  ASSERT_TRUE(server_->drain());
  EXPECT_EQ(control_.ran(), ran + 1);
  EXPECT_EQ(tally.late, options_.max_queued - 1);
  EXPECT_EQ(counted().queries.deadline_missed, options_.max_queued - 1);
  EXPECT_EQ(counted().queries.refused, 4U);
}

TEST_F(ServerFault, WhatIsLateWhileLateOnesAreToldDoesNotRun) {
  const Watchdog watchdog("late while told");
  start();
  control_.set_open(false);
  Tally tally;
  ASSERT_TRUE(submit(queries_[0], Tally::count, &tally));
  control_.wait_for_batch();
  SubmitOptions first, second;
  first.deadline = steady_clock::now() + milliseconds(20);
  second.deadline = first.deadline + milliseconds(300);
  struct Slow {
    Tally& tally;
    steady_clock::time_point until;
  } slow{tally, second.deadline + milliseconds(20)};
  ASSERT_TRUE(submit(
      queries_[0],
      [](void* at, QueryId, uint32_t, const Answer& answer) {
        static_cast<Slow*>(at)->tally.add(answer.status);
        std::this_thread::sleep_until(static_cast<Slow*>(at)->until);
      },
      &slow, first));
  ASSERT_TRUE(submit(queries_[0], Tally::count, &tally, second));
  std::this_thread::sleep_until(first.deadline + milliseconds(1));
  control_.set_open(true);
  ASSERT_TRUE(server_->drain());
  EXPECT_EQ(tally.late, 2U);
  EXPECT_EQ(control_.ran(), 1U);
}

TEST_F(ServerFault, TheDestructorAnswersWhatWaits) {
  const Watchdog watchdog("destructor");
  start();
  Tally tally;
  fill(Tally::count, &tally);
  std::thread opener([&] {
    std::this_thread::sleep_for(milliseconds(20));
    control_.set_open(true);
  });
  server_.reset();
  opener.join();
  EXPECT_EQ(tally.ok, 1U);
  EXPECT_EQ(tally.cancelled, options_.max_queued - 1);
}

TEST_F(ServerFault, EverythingIsCancelledFromManyThreads) {
  const Watchdog watchdog("cancel everything");
  options_.max_queued = 2000;
  start();
  Tally tally;
  control_.set_open(false);
  ASSERT_TRUE(submit(queries_[0], Tally::count, &tally));
  control_.wait_for_batch();
  const std::vector<std::string_view> tasks(names_.begin(), names_.end());
  uint32_t accepted = 1;
  std::vector<QueryId> ids;
  while (accepted + tasks.size() <= options_.max_queued) {
    const auto id = ids.size() % 2 == 0 ? submit(queries_[ids.size() % 16], Tally::count, &tally)
                                        : server_->submit(tasks, queries_[0], {}, Tally::count, &tally);
    ASSERT_TRUE(id);
    accepted += ids.size() % 2 == 0 ? 1 : static_cast<uint32_t>(tasks.size());
    ids.push_back(*id);
  }
  std::atomic<size_t> cancelled{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < ids.size(); ++i) cancelled += server_->cancel(ids[t % 2 == 0 ? i : ids.size() - 1 - i]) ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(cancelled, ids.size());
  EXPECT_EQ(server_->queued(), 0U);
  control_.set_open(true);
  ASSERT_TRUE(server_->drain());
  EXPECT_EQ(tally.cancelled, accepted - 1);
  EXPECT_EQ(tally.ok, 1U);
}

TEST_F(ServerFault, AStopOfALongQueueTakesTimeInProportion) {
  options_.max_queued = testing_util::kServerEffort << 12;
  options_.max_queued_tokens = options_.max_queued * 32;
  Watchdog watchdog("stop of a long queue");
  start();
  Tally tally;
  const size_t accepted = fill(Tally::count, &tally);
  std::thread opener([&] {
    std::this_thread::sleep_for(milliseconds(20));
    control_.set_open(true);
  });
  const auto begin = steady_clock::now();
  EXPECT_TRUE(server_->stop(false));
  opener.join();
  EXPECT_EQ(tally.all(), accepted);
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(5));  // it took a minute where each answer looked at all places
}

TEST_F(ServerFault, TheQueueLengthIsThatOfNow) {
  const Watchdog watchdog("queue length");
  options_.max_queued = 64;
  start();
  Tally tally;
  control_.set_open(false);
  const std::vector<std::string_view> tasks{names_[0], names_[1], names_[2]};
  ASSERT_TRUE(submit(queries_[0], Tally::count, &tally));
  control_.wait_for_batch();
  Query query = queries_[0];
  query.ids = query.ids.first(1);
  const auto id = server_->submit(tasks, query, {}, Tally::count, &tally);
  EXPECT_EQ(server_->queued(), 3U) << "a fan-out is as many queries as it has tasks";
  EXPECT_TRUE(server_->cancel(*id));
  EXPECT_EQ(server_->queued(), 0U);
  control_.set_open(true);
  ASSERT_TRUE(server_->drain());
}

}  // namespace
}  // namespace pets
