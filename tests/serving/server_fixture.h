// What the tests of a server share: a small model with tasks of every kind, queries with the answers of a direct run, a runner that does as
// it is told, and a watchdog for what must not hang.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/testing_util/random_model.h"

#include "pets/pets.h"
#include "runtime/serving/server_impl.h"

namespace pets::testing_util {

#ifdef PETS_SLOW_BUILD
inline constexpr uint32_t kServerEffort = 1;
#else
inline constexpr uint32_t kServerEffort = 10;
#endif

/// How long a test loads a server: PETS_LOAD_SECONDS, or what is given.
inline double load_seconds(double seconds) {
  const char* const wanted = std::getenv("PETS_LOAD_SECONDS");
  return wanted != nullptr ? std::atof(wanted) : seconds;
}

/// Ends the program with a message where its scope is not left in time: a deadlock is a failure, not a hung test.
class Watchdog {
 public:
  explicit Watchdog(const char* what, double seconds = 60 + load_seconds(0))
      : thread_([this, what, seconds] {
          std::unique_lock<std::mutex> lock(mutex_);
          if (left_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return done_; })) return;
          std::fprintf(stderr, "watchdog: '%s' hangs, after %g s\n", what, seconds);
          std::abort();
        }) {}
  ~Watchdog() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      done_ = true;
    }
    left_.notify_all();
    thread_.join();
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable left_;
  bool done_ = false;
  std::thread thread_;
};

inline std::vector<uint32_t> bits(std::span<const float> values) {
  std::vector<uint32_t> found(values.size());
  std::memcpy(found.data(), values.data(), values.size_bytes());
  return found;
}
/// Without an allocation.
inline bool same_bits(std::span<const float> values, const std::vector<uint32_t>& expected) {
  return values.size() == expected.size() && std::memcmp(values.data(), expected.data(), values.size_bytes()) == 0;
}

/// A model with tasks of every PET kind and head, and random queries with the answers of a direct run.
class ServerFixture : public testing::Test {
 protected:
  explicit ServerFixture(const ModelShape& shape = {}) : random_(seed_), base_(random_base(shape, seed_)), file_("server.pets") {
    testing::Test::RecordProperty("seed", std::to_string(seed_));
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
    add_tokenizer(base_);
    std::vector<converter::PetTask> tasks;
    uint32_t head = 1;
    for (const auto kind : kAllPetKinds) {
      tasks.push_back(random_task(base_, kind, static_cast<converter::HeadType>(head), pet_kind_name(kind), random_()));
      head = head % 6 + 1;
      names_.push_back(tasks.back().name);
    }
    adapt(tasks);
    write_random_bundle(file_.path(), base_, tasks);
    auto model = Model::load(file_.c_str());
    EXPECT_TRUE(model) << model.status().c_str();
    model_ = std::move(model).value();
    options_.session.threads = 2;
    options_.session.max_batch_tokens = 256;
    options_.fit_seconds = 0.01;
  }
  static void adapt(std::vector<converter::PetTask>& tasks) {
    for (size_t i = 0; i < tasks.size(); i += 3) tasks[i].max_length = 24;  // cuts some texts
  }

  void make_queries(size_t count, uint32_t longest = 24) {
    ids_.resize(count);
    queries_.resize(count);
    expected_.resize(count);
    for (size_t q = 0; q < count; ++q) {
      ids_[q].resize(1 + random_() % longest);
      for (int32_t& id : ids_[q]) id = static_cast<int32_t>(random_() % base_.vocabulary);
      queries_[q].task = names_[random_() % names_.size()];
      queries_[q].ids = ids_[q];
      queries_[q].has_ids = true;
    }
    expected_ = direct(queries_);
  }

  /// Bits of the logits, as a session gives them; empty where the answer is an error.
  std::vector<std::vector<uint32_t>> direct(std::span<const Query> queries) {
    std::vector<std::vector<uint32_t>> found(queries.size());
    auto session = Session::create(model_, options_.session);
    EXPECT_TRUE(session) << session.status().c_str();
    EXPECT_TRUE((*session)->run(queries, [&](size_t index, const Answer& answer) {
      if (answer.status) found[index] = bits(answer.logits);
    }));
    return found;
  }

  std::unique_ptr<Server> serve() {
    auto server = Server::create(model_, options_);
    EXPECT_TRUE(server) << server.status().c_str();
    return std::move(server).value();
  }

  const uint64_t seed_ = std::random_device()();
  std::mt19937_64 random_;
  converter::BaseModel base_;
  TemporaryFile file_;
  std::vector<std::string> names_;
  std::shared_ptr<Model> model_;
  ServerOptions options_;
  std::vector<std::vector<int32_t>> ids_;
  std::vector<Query> queries_;
  std::vector<std::vector<uint32_t>> expected_;
};

/// What a test tells its runner, and sees of it.
struct RunnerControl {
  std::mutex mutex;
  std::condition_variable changed;
  bool open = true;  ///< else a batch waits before it answers
  int failures = 0;  ///< batches that fail yet; below 0: all
  bool restarts_fail = false;
  uint32_t batches = 0, queries = 0, restarts = 0, waiting = 0;
  std::vector<std::string> tasks;  ///< of all queries, in the order in which they ran

  void set_open(bool value) {
    const std::lock_guard<std::mutex> lock(mutex);
    open = value;
    changed.notify_all();
  }
  /// Until a batch waits.
  void wait_for_batch() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [this] { return waiting != 0; });
  }
  uint32_t ran() {
    const std::lock_guard<std::mutex> lock(mutex);
    return queries;
  }
};

/// Answers without computing.
class ToldRunner final : public serving::BatchRunner {
 public:
  explicit ToldRunner(RunnerControl& control) : control_(control) {}
  void run(std::span<const engine::PreparedQuery> queries, Session::AnswerFn on_answer, void* context) noexcept override {
    Answer answer;
    {
      std::unique_lock<std::mutex> lock(control_.mutex);
      ++control_.waiting;
      control_.changed.notify_all();
      control_.changed.wait(lock, [this] { return control_.open; });
      --control_.waiting;
      ++control_.batches;
      control_.queries += static_cast<uint32_t>(queries.size());
      for (const engine::PreparedQuery& query : queries) control_.tasks.push_back(query.task->info.name);
      if (control_.failures != 0) {
        answer.status = Status::error(ErrorCode::kInternal, "the device fell off");
        if (control_.failures > 0) --control_.failures;
      }
    }
    for (size_t i = 0; i < queries.size(); ++i) {
      answer.task = answer.status ? &queries[i].task->info : nullptr;
      on_answer(context, i, answer);
    }
  }
  Status restart() noexcept override {
    const std::lock_guard<std::mutex> lock(control_.mutex);
    ++control_.restarts;
    return control_.restarts_fail ? Status::error(ErrorCode::kInternal, "no device at all") : Status::ok();
  }

 private:
  RunnerControl& control_;
};

/// A server whose batches run as the test says.
class ToldServerFixture : public ServerFixture {
 protected:
  ToldServerFixture() {
    options_.max_queued = 8;
    options_.session.threads = 1;
    auto session = Session::create(model_, options_.session);
    EXPECT_TRUE(session) << session.status().c_str();
    capacity_ = (*session)->impl().capacity;
  }

  void start(uint32_t metrics_tasks = 32) {
    serving::ServerSizes sizes;
    sizes.slots = options_.max_queued;
    sizes.query_tokens = base_.positions;
    sizes.queued_tokens = std::max(options_.max_queued_tokens != 0 ? options_.max_queued_tokens : 64 * sizes.slots, base_.positions);
    sizes.staged_tokens = std::max(capacity_.tokens, base_.positions);
    sizes.desks = 3;
    sizes.desk_scratch = model_->impl().tokenizer.scratch_bytes();
    auto metrics = serving::Metrics::create(metrics_tasks);
    auto trace = serving::BatchTrace::create(16);
    ASSERT_TRUE(metrics && trace);
    const std::vector<serving::AlphaPoint> points{{1, 16, 2e-4}, {1, 64, 3e-4}, {4, 64, 9e-4}};
    server_ = std::make_unique<Server::Impl>(model_, options_, sizes, std::make_unique<ToldRunner>(control_), capacity_,
                                             serving::CostModel(points, {}),
                                             serving::Records{std::move(metrics).value(), std::move(trace).value()});
    server_->start();
  }
  Result<QueryId> submit(const Query& query, Server::AnswerFn on_answer, void* context, const SubmitOptions& options = {}) {
    return server_->submit({&query.task, 1}, query, options, on_answer, context);
  }
  /// Fills the queue behind a batch that waits. The number of queries in both.
  size_t fill(Server::AnswerFn on_answer, void* context, const SubmitOptions& options = {}) {
    control_.set_open(false);
    EXPECT_TRUE(submit(queries_[0], on_answer, context, options));
    control_.wait_for_batch();
    for (uint32_t i = 1; i < options_.max_queued; ++i) EXPECT_TRUE(submit(queries_[i % queries_.size()], on_answer, context, options));
    return options_.max_queued;
  }
  MetricsSnapshot counted() const { return server_->records().metrics->snapshot(); }

  engine::EncoderCapacity capacity_;
  RunnerControl control_;
  std::unique_ptr<Server::Impl> server_;
};

/// Answers by status.
struct Tally {
  std::atomic<uint32_t> ok{0}, cancelled{0}, late{0}, exhausted{0}, unavailable{0}, internal{0}, other{0};
  uint32_t all() const { return ok + cancelled + late + exhausted + unavailable + internal + other; }
  void add(const Status& status) {
    switch (status.code()) {
      case ErrorCode::kOk:
        ++ok;
        break;
      case ErrorCode::kCancelled:
        ++cancelled;
        break;
      case ErrorCode::kDeadlineExceeded:
        ++late;
        break;
      case ErrorCode::kResourceExhausted:
        ++exhausted;
        break;
      case ErrorCode::kUnavailable:
        ++unavailable;
        break;
      case ErrorCode::kInternal:
        ++internal;
        break;
      default:
        ++other;
    }
  }
  static void count(void* self, QueryId, uint32_t, const Answer& answer) { static_cast<Tally*>(self)->add(answer.status); }
};

}  // namespace pets::testing_util
