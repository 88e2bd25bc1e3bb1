// The server: every accepted query is answered once, with the bits of a direct run; refused ones are told why.
#include "tests/serving/server_fixture.h"

namespace pets {
namespace {

using std::chrono::steady_clock;
using testing_util::bits;

using ServerTest = testing_util::ServerFixture;

TEST_F(ServerTest, EveryStrategyAnswersEveryQueryOnceWithTheBitsOfADirectRun) {
  make_queries(400);
  for (const Strategy strategy : {Strategy::kPacked, Strategy::kCoordinated, Strategy::kAlpha, Strategy::kBeta, Strategy::kFixed}) {
    SCOPED_TRACE(std::string(strategy_name(strategy)));
    options_.strategy = strategy;
    const auto server = serve();
    std::vector<std::atomic<uint32_t>> answered(queries_.size());
    std::atomic<uint32_t> wrong{0};
    std::vector<std::thread> producers;
    for (size_t p = 0; p < 4; ++p) {
      producers.emplace_back([&, p] {
        for (size_t q = p; q < queries_.size(); q += 4) {
          const auto id = server->submit(queries_[q], {}, [&, q](QueryId, uint32_t part, const Answer& answer) {
            ++answered[q];
            if (!answer.status || part != 0 || bits(answer.logits) != expected_[q]) ++wrong;
          });
          if (!id) ++wrong;
        }
      });
    }
    for (std::thread& producer : producers) producer.join();
    EXPECT_TRUE(server->drain());
    for (size_t q = 0; q < queries_.size(); ++q) EXPECT_EQ(answered[q], 1U) << q;
    EXPECT_EQ(wrong, 0U);
    EXPECT_EQ(server->queued(), 0U);
  }
}

TEST_F(ServerTest, FuturesHoldTheirAnswers) {
  make_queries(50);
  const auto server = serve();
  std::vector<std::future<OwnedAnswer>> futures;
  for (const Query& query : queries_) futures.push_back(server->submit(query));
  Query unknown;
  unknown.task = "nobody";
  unknown.has_ids = true;
  const OwnedAnswer refused = server->submit(unknown).get();
  EXPECT_EQ(refused.status.code(), ErrorCode::kNotFound);
  EXPECT_STREQ(refused.status.c_str(), "unknown task 'nobody'");
  for (size_t q = 0; q < queries_.size(); ++q) {
    const OwnedAnswer answer = futures[q].get();
    ASSERT_TRUE(answer.status) << answer.status.c_str();
    EXPECT_EQ(answer.task->name, queries_[q].task);
    EXPECT_EQ(bits(answer.logits), expected_[q]);
    EXPECT_EQ(answer.tokens.size(), ids_[q].size());
  }
}

TEST_F(ServerTest, AFanOutAnswersEveryTaskAsAQueryOfItsOwn) {
  make_queries(1);
  const auto server = serve();
  std::vector<std::string_view> tasks(names_.begin(), names_.end());
  tasks.insert(tasks.begin() + 3, "nobody");
  tasks.push_back(names_[1]);
  std::vector<uint32_t> answers(tasks.size());
  std::vector<std::vector<uint32_t>> found(tasks.size());
  std::mutex mutex;
  struct Context {
    std::vector<uint32_t>& answers;
    std::vector<std::vector<uint32_t>>& found;
    std::mutex& mutex;
  } context{answers, found, mutex};
  const auto id = server->submit(
      tasks, queries_[0], {},
      [](void* at, QueryId, uint32_t part, const Answer& answer) {
        auto& all = *static_cast<Context*>(at);
        const std::lock_guard<std::mutex> lock(all.mutex);
        ++all.answers[part];
        if (answer.status) all.found[part] = bits(answer.logits);
      },
      &context);
  ASSERT_TRUE(id) << id.status().c_str();
  ASSERT_TRUE(server->drain());
  for (size_t part = 0; part < tasks.size(); ++part) {
    EXPECT_EQ(answers[part], 1U);
    Query query = queries_[0];
    query.task = tasks[part];
    const OwnedAnswer alone = server->submit(query).get();
    EXPECT_EQ(found[part].empty(), tasks[part] == "nobody");
    EXPECT_EQ(found[part], bits(alone.logits)) << tasks[part];
  }
}

TEST_F(ServerTest, OptionsThatMeanNothingAreRefused) {
  const auto code_with = [&](const auto& change) {
    ServerOptions changed = options_;
    change(changed);
    return Server::create(model_, changed).status().code();
  };
  EXPECT_EQ(code_with([](ServerOptions& o) { o.strategy = static_cast<Strategy>(5); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_with([](ServerOptions& o) { o.overflow = static_cast<Overflow>(3); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_with([](ServerOptions& o) { o.fixed_batch_queries = 0; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_with([](ServerOptions& o) { o.max_queued = 0; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_with([](ServerOptions& o) { o.patience_seconds = -1; }), ErrorCode::kInvalidArgument);
}

TEST_F(ServerTest, PastDeadlinesStoppedServersAndBadCallsAreRefused) {
  make_queries(1);
  const auto server = serve();
  SubmitOptions late;
  late.deadline = steady_clock::now() - std::chrono::seconds(1);
  EXPECT_EQ(server->submit(queries_[0], late).get().status.code(), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(server->submit(queries_[0], {}, nullptr, nullptr).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(server
                ->submit(
                    std::span<const std::string_view>(), queries_[0], {}, [](void*, QueryId, uint32_t, const Answer&) {}, nullptr)
                .status()
                .code(),
            ErrorCode::kInvalidArgument);
  Status inside;
  ASSERT_TRUE(server->submit(queries_[0], {}, [&](QueryId, uint32_t, const Answer&) { inside = server->drain(); }));
  ASSERT_TRUE(server->drain());
  EXPECT_EQ(inside.code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(server->stop());
  EXPECT_TRUE(server->stop());
  EXPECT_EQ(server->submit(queries_[0]).get().status.code(), ErrorCode::kUnavailable);
  EXPECT_FALSE(server->cancel(1));
}

}  // namespace
}  // namespace pets
