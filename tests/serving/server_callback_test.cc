// Callbacks that submit, cancel and stop, queries that give way to others, stops that race with everything: no deadlock, nothing in vain.
#include <algorithm>

#include "tests/serving/server_fixture.h"

namespace pets {
namespace {

using testing_util::Tally;
using testing_util::Watchdog;

class ServerCallback : public testing_util::ToldServerFixture {
 protected:
  ServerCallback() { make_queries(16); }
};

/// Submits again from its callback, so often.
struct Persistent {
  Server::Impl& server;
  const Query& query;
  SubmitOptions options;
  std::atomic<int> attempts{0};
  int most;
  Tally answers, refusals;
  static void retry(void* self, QueryId id, uint32_t, const Answer& answer) {
    auto& own = *static_cast<Persistent*>(self);
    own.answers.add(answer.status);
    (void)own.server.cancel(id);
    if (++own.attempts > own.most) return;
    const auto again = own.server.submit({&own.query.task, 1}, own.query, own.options, retry, self);
    if (!again) own.refusals.add(again.status());
  }
};

TEST_F(ServerCallback, CallbacksSubmitAndCancelWhileTheQueueIsFull) {
  for (const Overflow overflow : {Overflow::kBlock, Overflow::kFail, Overflow::kShedLowest}) {
    SCOPED_TRACE(static_cast<int>(overflow));
    const Watchdog watchdog("submit inside callbacks");
    options_.overflow = overflow;
    start();
    Persistent again{*server_, queries_[0], {}, {}, 300, {}, {}};
    again.options.priority = -1;
    const size_t queued = fill(Persistent::retry, &again, again.options);
    // Sheds one whose callback comes back with the priority that it had: whoever sheds gets the room.
    SubmitOptions high;
    Tally tally;
    uint32_t accepted = 0;
    if (overflow == Overflow::kShedLowest) {
      for (uint32_t i = 0; i + 1 < options_.max_queued; ++i) {
        const auto id = submit(queries_[1], Tally::count, &tally, high);
        ASSERT_TRUE(id) << id.status().c_str();
        ++accepted;
      }
      EXPECT_EQ(submit(queries_[1], Tally::count, &tally, high).status().code(), ErrorCode::kResourceExhausted) << "none is lower";
      EXPECT_EQ(again.answers.exhausted, options_.max_queued - 1);
      EXPECT_EQ(again.refusals.exhausted, options_.max_queued - 1);
    }
    std::vector<std::thread> producers;
    std::atomic<uint32_t> more{0};
    control_.set_open(true);
    for (int p = 0; p < 3; ++p) {
      producers.emplace_back([&] {
        for (int i = 0; i < 200; ++i) {
          const auto id = submit(queries_[2], Tally::count, &tally, high);
          if (!id) continue;
          ++more;
          if (i % 3 == 0) (void)server_->cancel(*id);
        }
      });
    }
    for (std::thread& producer : producers) producer.join();
    ASSERT_TRUE(server_->drain());
    EXPECT_EQ(tally.all(), accepted + more);
    const uint32_t resubmitted = static_cast<uint32_t>(std::min(again.attempts.load(), again.most));
    EXPECT_EQ(again.answers.all() + again.refusals.all(), queued + resubmitted);
    const auto counts = counted().queries;
    EXPECT_EQ(counts.submitted, tally.all() + again.answers.all());
    EXPECT_EQ(counts.submitted, counts.answered + counts.failed + counts.cancelled + counts.deadline_missed);
    server_.reset();
  }
}

TEST_F(ServerCallback, NobodyIsShedInVain) {
  const Watchdog watchdog("shed in vain");
  options_.overflow = Overflow::kShedLowest;
  start();
  Tally tally;
  fill(Tally::count, &tally);
  const std::vector<std::string_view> too_many(options_.max_queued + 1, names_[0]);
  SubmitOptions high;
  high.priority = 1;
  Tally fan_out;
  ASSERT_TRUE(server_->submit(too_many, queries_[0], high, Tally::count, &fan_out));
  EXPECT_EQ(fan_out.exhausted, too_many.size());
  EXPECT_EQ(tally.all(), 0U) << "those could not make enough room";
  // One runs, so that all but one place can be had.
  const std::vector<std::string_view> still_too_many(options_.max_queued, names_[0]);
  ASSERT_TRUE(server_->submit(still_too_many, queries_[0], high, Tally::count, &fan_out));
  EXPECT_EQ(tally.all(), 0U);
  const std::vector<std::string_view> enough(options_.max_queued - 1, names_[0]);
  ASSERT_TRUE(server_->submit(enough, queries_[0], high, Tally::count, &fan_out));
  EXPECT_EQ(tally.exhausted, options_.max_queued - 1);
  control_.set_open(true);
  ASSERT_TRUE(server_->drain());
  EXPECT_EQ(fan_out.ok, enough.size());
}

TEST_F(ServerCallback, TheLowestAndYoungestIsShed) {
  const Watchdog watchdog("shed order");
  options_.overflow = Overflow::kShedLowest;
  options_.max_queued = 4;
  start();
  Tally running;
  control_.set_open(false);
  ASSERT_TRUE(submit(queries_[0], Tally::count, &running));
  control_.wait_for_batch();
  struct Each {
    int which;
    std::vector<int>& order;
  };
  std::vector<int> order;
  Each each[] = {{0, order}, {1, order}, {2, order}};
  const int32_t priorities[] = {INT32_MIN, INT32_MIN, 5};
  const auto note = [](void* at, QueryId, uint32_t, const Answer& answer) {
    const auto& own = *static_cast<Each*>(at);
    own.order.push_back(answer.status ? 100 + own.which : own.which);
  };
  for (int i = 0; i < 3; ++i) {
    SubmitOptions options;
    options.priority = priorities[i];
    ASSERT_TRUE(submit(queries_[0], note, &each[i], options));
  }
  SubmitOptions options;
  options.priority = INT32_MIN;
  EXPECT_FALSE(submit(queries_[0], Tally::count, &running, options));
  options.priority = INT32_MAX;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(submit(queries_[0], Tally::count, &running, options));
  EXPECT_EQ(order, (std::vector<int>{1, 0, 2}));
  EXPECT_FALSE(submit(queries_[0], Tally::count, &running, options));
  control_.set_open(true);
  ASSERT_TRUE(server_->drain());
  EXPECT_EQ(running.ok, 4U);
}

TEST_F(ServerCallback, DrainAndStopAreRefusedInsideEveryCallback) {
  const Watchdog watchdog("drain inside callbacks");
  start();
  const std::unique_ptr<Server::Impl> first = std::move(server_);
  start();
  Tally tally;
  // On the worker's, on a cancelling and on a submitting thread; also inside another server's callback.
  struct Context {
    Server::Impl* server;
    Server::Impl* other;
    QueryId of_other;
    std::atomic<int> refused{0};
    static void try_all(void* self, QueryId, uint32_t, const Answer&) {
      auto& own = *static_cast<Context*>(self);
      own.refused += own.server->drain().code() == ErrorCode::kInvalidArgument ? 1 : 0;
      own.refused += own.server->stop(true).code() == ErrorCode::kInvalidArgument ? 1 : 0;
    }
  } context{server_.get(), first.get(), 0, {}};
  ASSERT_TRUE(submit(queries_[0], Context::try_all, &context));
  ASSERT_TRUE(server_->drain());
  EXPECT_EQ(context.refused, 2);
  fill(Tally::count, &tally);
  const std::vector<std::string_view> bad{"nobody", "no one"};
  ASSERT_TRUE(server_->submit(bad, queries_[0], {}, Context::try_all, &context));
  EXPECT_EQ(context.refused, 6);
  control_.set_open(true);
  ASSERT_TRUE(server_->drain());
  control_.set_open(false);
  Tally of_first;
  ASSERT_TRUE(first->submit({&queries_[0].task, 1}, queries_[0], {}, Tally::count, &of_first));
  control_.wait_for_batch();
  const auto waiting = first->submit({&queries_[0].task, 1}, queries_[0], {}, Context::try_all, &context);
  context.of_other = *waiting;
  const std::vector<std::string_view> one_bad{"nobody", names_[0]};
  ASSERT_TRUE(server_->submit(
      one_bad, queries_[0], {},
      [](void* self, QueryId, uint32_t part, const Answer&) {
        auto& own = *static_cast<Context*>(self);
        if (part != 0) return;
        EXPECT_TRUE(own.other->cancel(own.of_other));  // try_all asks the outer server
      },
      &context));
  EXPECT_EQ(context.refused, 8);
  control_.set_open(true);
  ASSERT_TRUE(first->drain());
  ASSERT_TRUE(server_->drain());
}

TEST_F(ServerCallback, StopsRaceWithEverything) {
  const Watchdog watchdog("stop races");
  for (uint32_t round = 0; round < 8 * testing_util::kServerEffort; ++round) {
    options_.overflow = static_cast<Overflow>(round % 3);
    start();
    Tally tally;
    std::atomic<uint32_t> accepted{0}, strange{0};
    std::atomic<QueryId> last{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        const std::vector<std::string_view> two{names_[0], names_[1]};
        for (int i = 0;; ++i) {
          const auto id = submit(queries_[0], Tally::count, &tally);
          if (id) {
            ++accepted;
            last = *id;
            continue;
          }
          if (id.status().code() == ErrorCode::kUnavailable) break;
          if (id.status().code() != ErrorCode::kResourceExhausted) ++strange;
        }
        if (server_->submit(two, queries_[0], {}, Tally::count, &tally)) accepted += 2;
      });
    }
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) (void)server_->cancel(last);
    });
    threads.emplace_back([&] { strange += server_->drain() ? 0 : 1; });
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        std::this_thread::sleep_for(std::chrono::microseconds(300 + 100 * t));
        strange += server_->stop((round + static_cast<uint32_t>(t)) % 2 == 0) ? 0 : 1;
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(tally.all(), accepted);
    ASSERT_EQ(strange, 0U);
    ASSERT_EQ(server_->queued(), 0U);
    server_.reset();
  }
}

}  // namespace
}  // namespace pets
