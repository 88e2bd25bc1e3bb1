// What a Server is made of.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "pets/server.h"
#include "runtime/engine/session_impl.h"
#include "runtime/serving/batch_runner.h"
#include "runtime/serving/batch_trace.h"
#include "runtime/serving/metrics.h"
#include "runtime/serving/query_queue.h"
#include "runtime/serving/scheduler.h"

namespace pets {
namespace serving {

/// Steady time as the strategies count it.
inline Nanoseconds now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Where a submitting thread reads its query. Few are enough: reading takes microseconds.
struct Desk {
  Desk(engine::TaskSetCell& tasks, std::size_t query_tokens, std::size_t scratch_bytes)
      : reader(tasks), tokens(query_tokens), scratch(scratch_bytes) {}
  engine::TaskSetCell::Reader reader;
  std::vector<tokenizer::Token> tokens;
  std::vector<std::byte> scratch;
};

/// What a server notes of what it does. Null, or empty: nothing.
struct Records {
  std::unique_ptr<Metrics> metrics;
  BatchTrace trace;
};

/// How large a server's parts are.
struct ServerSizes {
  uint32_t slots = 0, queued_tokens = 0;
  uint32_t query_tokens = 0;   ///< of the longest query
  uint32_t staged_tokens = 0;  ///< of a batch
  uint32_t desks = 0;
  std::size_t desk_scratch = 0;
  uint64_t counters = 0;  ///< bytes of metrics and trace
  uint64_t arena = 0;     ///< of the session

  /// Without the session's.
  uint64_t bytes() const;
};

}  // namespace serving

class Server::Impl {
 public:
  Impl(std::shared_ptr<Model> model, const ServerOptions& options, const serving::ServerSizes& sizes,
       std::unique_ptr<serving::BatchRunner> runner, const engine::EncoderCapacity& capacity, serving::CostModel costs,
       serving::Records records);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void start();
  Result<QueryId> submit(std::span<const std::string_view> tasks, const Query& query, const SubmitOptions& options, AnswerFn on_answer,
                         void* context);
  bool cancel(QueryId id);
  Status drain();
  Status stop(bool finish);
  uint32_t queued() const;
  const serving::Records& records() const { return records_; }

  Model& model() const { return *model_; }
  uint64_t bytes() const { return sizes_.bytes() + sizes_.arena; }

 private:
  using Lock = std::unique_lock<std::mutex>;

  /// A query on its way into the queue.
  struct Submission;
  /// A thread that waits for room, on its stack.
  struct Waiter;
  class AtDesk;
  class Reservation;

  // submission.cc, on the submitting thread
  /// Queues the tasks from `part` on that read the query alike, the submission's group then. An error says that none of them was.
  Status accept(Submission& submission, std::size_t part);
  Status read(Submission& submission, const engine::Task& task, serving::Desk& desk) const;
  void find_group(Submission& submission, std::size_t first) const;
  void enqueue_group(Submission& submission, std::span<const tokenizer::Token> tokens);
  void count_refusal(const Submission& submission, std::size_t part);

  // room.cc
  /// An error where nothing is accepted any more.
  Status admits() const;
  /// Whether so much is free, what others reserved left out.
  bool has_room(serving::Room needed) const;
  void reserve(serving::Room room);
  /// Reserves room for the submission, at once; or waits for it, or sheds others, as the options say.
  Status make_room(const Submission& submission, serving::Room needed, Reservation& reservation);
  Status wait_for_room(const Submission& submission, serving::Room needed, Lock& lock);
  Status shed(int32_t priority, serving::Room needed, Lock& lock);
  /// What became free goes to those who wait for it, in the order in which they came.
  void grant_room();
  void wake_waiters();
  /// Takes a waiting group out of the queue and puts it before `list`, slots that are linked by `next`: nobody else knows them any more.
  uint32_t take_out(uint32_t leader, uint32_t list);
  /// Answers a list of slots; without the lock meanwhile.
  void answer_all(uint32_t list, const Status& status, Lock& lock);

  // worker.cc
  void work();
  /// Answers what is late by now. False where nothing was.
  bool expire(Lock& lock);
  void refuse_all(const Status& status, Lock& lock);
  void run_batch(const serving::Scheduler::Batch& batch, Lock& lock);
  void stage(const serving::Scheduler::Batch& batch);
  void deliver(std::size_t index, const Answer& answer);
  void recover(Lock& lock);
  void record(const serving::Scheduler::Batch& batch, serving::Nanoseconds start, serving::Nanoseconds end);
  /// Runs a callback; without the lock.
  void call(const serving::Slot& slot, const Answer& answer) const;
  /// Whether this thread is in a callback of this server.
  bool in_callback() const;
  bool on_worker() const { return std::this_thread::get_id() == worker_id_.load(std::memory_order_relaxed); }

  const std::shared_ptr<Model> model_;
  Model::Impl& internals_;
  const ServerOptions options_;
  const serving::ServerSizes sizes_;
  const std::unique_ptr<serving::BatchRunner> runner_;
  const engine::EncoderCapacity capacity_;  // of the runner's session
  serving::Records records_;

  mutable std::mutex mutex_;
  std::condition_variable work_;  // something waits, or the server stops
  std::condition_variable idle_;  // everything accepted is answered
  std::condition_variable desk_;
  // Under the mutex:
  serving::QueryQueue queue_;
  serving::Scheduler scheduler_;
  std::vector<std::unique_ptr<serving::Desk>> desks_;
  std::vector<serving::Desk*> free_desks_;
  std::unique_ptr<serving::Desk> worker_desk_;  // for callbacks that submit
  serving::Room reserved_;                      // of what is free, or becomes free on the thread that reserved it
  Waiter* first_waiter_ = nullptr;              // for room, in the order in which they came
  uint32_t waiting_ = 0;                        // queries; a scheduler's item is a group of them
  uint64_t unanswered_ = 0;                     // accepted queries whose callback has not returned
  QueryId last_id_ = 0;
  bool stopping_ = false, finish_ = true, worker_sleeps_ = false;
  Status failure_;  // why the worker gave up

  // The worker's own:
  std::vector<tokenizer::Token> staged_tokens_;
  std::vector<engine::PreparedQuery> prepared_;
  std::vector<uint32_t> running_;  // slots, by index of the prepared query
  std::vector<const engine::Task*> batch_tasks_;
  serving::Nanoseconds batch_start_ = 0;
  uint32_t left_waiting_ = 0;  // when the batch was taken
  bool batch_failed_ = false;
  uint32_t restarts_ = 0;  // without a good batch since

  std::mutex stop_mutex_;  // one stops, others wait for it
  std::thread worker_;
  std::atomic<std::thread::id> worker_id_{};
};

}  // namespace pets
