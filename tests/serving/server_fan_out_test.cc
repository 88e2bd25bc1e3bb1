// One text, many tasks: each task has one answer, that of a query of its own, or the reason why not.
#include <map>

#include "tests/serving/server_fixture.h"

namespace pets {
namespace {

using testing_util::bits;
using testing_util::Tally;
using testing_util::Watchdog;

/// What a fan-out was told.
struct Told {
  explicit Told(size_t tasks) : answers(tasks), logits(tasks), truncated(tasks), status(tasks) {}
  static void note(void* self, QueryId, uint32_t part, const Answer& answer) {
    auto& own = *static_cast<Told*>(self);
    const std::lock_guard<std::mutex> lock(own.mutex);
    ++own.answers[part];
    own.status[part] = answer.status;
    own.logits[part] = bits(answer.logits);
    own.truncated[part] = answer.truncated;
  }
  std::mutex mutex;
  std::vector<uint32_t> answers;
  std::vector<std::vector<uint32_t>> logits;
  std::vector<char> truncated;
  std::vector<Status> status;
};

class ServerFanOut : public testing_util::ServerFixture {
 protected:
  ServerFanOut() { options_.session.threads = 1; }
  /// Submits it and compares it with queries of its tasks.
  void check(Server& server, const std::vector<std::string_view>& tasks, const Query& query) {
    Told told(tasks.size());
    const auto id = server.submit(tasks, query, {}, Told::note, &told);
    ASSERT_TRUE(id) << id.status().c_str();
    ASSERT_TRUE(server.drain());
    auto session = Session::create(model_, options_.session);
    ASSERT_TRUE(session);
    for (size_t part = 0; part < tasks.size(); ++part) {
      SCOPED_TRACE(std::string(tasks[part]));
      ASSERT_EQ(told.answers[part], 1U);
      Query alone = query;
      alone.task = tasks[part];
      ASSERT_TRUE((*session)->run({&alone, 1}, [&](size_t, const Answer& answer) {
        EXPECT_EQ(told.status[part].code(), answer.status.code());
        EXPECT_EQ(told.status[part].message(), answer.status.message());
        EXPECT_EQ(told.logits[part], bits(answer.logits));
        EXPECT_EQ(static_cast<bool>(told.truncated[part]), answer.truncated);
      }));
    }
  }
};

TEST_F(ServerFanOut, TextsThatSomeTasksCutBadMembersAndDuplicates) {
  const Watchdog watchdog("fan-outs");
  for (const Strategy strategy : {Strategy::kPacked, Strategy::kCoordinated, Strategy::kFixed}) {
    options_.strategy = strategy;
    const auto server = serve();
    for (int round = 0; round < 4; ++round) {
      std::vector<std::string_view> tasks(names_.begin(), names_.end());
      for (int more = 0; more < 8; ++more)
        tasks.push_back(random_() % 4 == 0 ? std::string_view("nobody") : names_[random_() % names_.size()]);
      std::shuffle(tasks.begin(), tasks.end(), random_);
      std::string text;
      for (uint64_t words = random_() % 60; words-- > 0;)
        text += std::string(1 + random_() % 3, static_cast<char>('a' + random_() % 26)) + " ";
      Query query;
      query.text = text;
      query.text_pair = "where? here.";
      query.has_text_pair = random_() % 2 == 0;  // else questions are refused
      check(*server, tasks, query);
      std::vector<int32_t> ids(1 + random_() % 40);  // over 24 some tasks refuse
      for (int32_t& id : ids) id = static_cast<int32_t>(random_() % base_.vocabulary);
      Query of_ids;
      of_ids.ids = ids;
      of_ids.has_ids = true;
      check(*server, tasks, of_ids);
    }
    Query broken;
    broken.text = "\xFF";
    check(*server, {names_[0], "nobody", names_[1]}, broken);
  }
}

TEST_F(ServerFanOut, ManyAtOnceBesideOtherQueries) {
  const Watchdog watchdog("many fan-outs");
  make_queries(32);
  options_.max_queued = 40;
  const auto server = serve();
  const std::vector<std::string_view> tasks(names_.begin(), names_.end());
  std::vector<std::vector<std::vector<uint32_t>>> expected(tasks.size());
  for (size_t t = 0; t < tasks.size(); ++t) {
    std::vector<Query> own = queries_;
    for (Query& query : own) query.task = tasks[t];
    expected[t] = direct(own);
  }
  struct Context {
    const std::vector<std::vector<std::vector<uint32_t>>>& expected;
    size_t query;
    std::atomic<uint32_t> answered{0}, cancelled{0}, wrong{0}, different{0};
    // Counting the answer comes last: whoever waits for the last one ends this object's life.
    static void note(void* self, QueryId, uint32_t part, const Answer& answer) {
      auto& own = *static_cast<Context*>(self);
      if (answer.status) {
        if (bits(answer.logits) != own.expected[part][own.query]) ++own.different;
        ++own.answered;
      } else {
        ++(answer.status.code() == ErrorCode::kCancelled ? own.cancelled : own.wrong);
      }
    }
  };
  std::vector<std::thread> threads;
  std::atomic<uint32_t> wrong{0};
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t i = 0; i < 6 * testing_util::kServerEffort; ++i) {
        Context context{expected, i % queries_.size(), {}, {}, {}, {}};
        const auto id = server->submit(tasks, queries_[context.query], {}, Context::note, &context);
        if (!id) {
          ++wrong;
          continue;
        }
        if ((i + static_cast<uint32_t>(t)) % 3 == 0) (void)server->cancel(*id);
        while (context.answered + context.cancelled + context.wrong < tasks.size()) std::this_thread::yield();
        wrong += context.wrong + context.different;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0U);
  ASSERT_TRUE(server->drain());
}

class ServerFanOutRoom : public testing_util::ToldServerFixture {
 protected:
  ServerFanOutRoom() { make_queries(16); }
};

TEST_F(ServerFanOutRoom, AFanOutLargerThanTheQueueIsRefusedWhole) {
  for (const Overflow overflow : {Overflow::kBlock, Overflow::kFail, Overflow::kShedLowest}) {
    SCOPED_TRACE(static_cast<int>(overflow));
    const Watchdog watchdog("too large a fan-out");
    options_.overflow = overflow;
    start();
    Tally waiting;
    fill(Tally::count, &waiting);
    std::vector<std::string_view> tasks(options_.max_queued + 1, names_[1]);
    tasks.push_back("nobody");
    Told told(tasks.size());
    SubmitOptions high;
    high.priority = 9;
    ASSERT_TRUE(server_->submit(tasks, queries_[0], high, Told::note, &told));
    for (size_t part = 0; part < tasks.size(); ++part) {
      EXPECT_EQ(told.answers[part], 1U);
      EXPECT_EQ(told.status[part].code(), part + 1 == tasks.size() ? ErrorCode::kNotFound : ErrorCode::kResourceExhausted);
    }
    EXPECT_EQ(waiting.all(), 0U);
    EXPECT_EQ(counted().queries.refused, tasks.size());
    control_.set_open(true);
    ASSERT_TRUE(server_->drain());
    EXPECT_EQ(waiting.ok, options_.max_queued);
    server_.reset();
  }
}

TEST_F(ServerFanOutRoom, OneThatFindsNoRoomIsToldForEachTask) {
  const Watchdog watchdog("a fan-out without room");
  options_.overflow = Overflow::kFail;
  start();
  Tally waiting, fan_out;
  control_.set_open(false);
  ASSERT_TRUE(submit(queries_[0], Tally::count, &waiting));
  control_.wait_for_batch();
  for (uint32_t i = 4; i < options_.max_queued; ++i) ASSERT_TRUE(submit(queries_[0], Tally::count, &waiting));
  std::vector<std::string_view> tasks(4, names_[1]);  // three places are free
  ASSERT_TRUE(server_->submit(tasks, queries_[0], {}, Tally::count, &fan_out));
  EXPECT_EQ(fan_out.exhausted, 4U) << "a part of it would be worth nothing";
  tasks.pop_back();
  ASSERT_TRUE(server_->submit(tasks, queries_[0], {}, Tally::count, &fan_out));
  EXPECT_EQ(fan_out.all(), 4U);
  const auto refused = server_->submit(std::span(tasks).first(1), queries_[0], {}, Tally::count, &fan_out);
  EXPECT_EQ(refused.status().code(), ErrorCode::kResourceExhausted);
  control_.set_open(true);
  ASSERT_TRUE(server_->drain());
  EXPECT_EQ(fan_out.ok, 3U);
  ASSERT_TRUE(server_->stop(true));
  ASSERT_TRUE(server_->submit(tasks, queries_[0], {}, Tally::count, &fan_out));
  EXPECT_EQ(fan_out.unavailable, 3U);
}

TEST_F(ServerFanOutRoom, AFanOutWhoseDeadlinePassesWhileItWaitsForRoomIsTold) {
  const Watchdog watchdog("a fan-out that is late");
  start();
  Tally waiting, fan_out;
  fill(Tally::count, &waiting);
  const std::vector<std::string_view> tasks(names_.begin(), names_.begin() + 5);
  SubmitOptions soon;
  soon.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(30);
  ASSERT_TRUE(server_->submit(tasks, queries_[0], soon, Tally::count, &fan_out));
  EXPECT_EQ(fan_out.late, tasks.size());
  EXPECT_EQ(server_->submit(tasks, queries_[0], soon, Tally::count, &fan_out).status().code(), ErrorCode::kDeadlineExceeded);
  control_.set_open(true);
  ASSERT_TRUE(server_->drain());
  EXPECT_EQ(fan_out.all(), tasks.size());
}

}  // namespace
}  // namespace pets
