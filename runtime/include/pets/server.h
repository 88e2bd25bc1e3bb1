// Queries for many tasks, from any thread, over time: a queue, a strategy that cuts it into batches, and a worker that runs them.
#pragma once

#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "pets/metrics.h"
#include "pets/model.h"
#include "pets/types.h"

namespace pets {

/// What happens to a query for which the queue has no room.
enum class Overflow : uint8_t {
  kBlock,      ///< submit waits (until its deadline), first come first served; on the server's own thread it fails instead
  kFail,       ///< submit fails at once with kResourceExhausted
  kShedLowest  ///< waiting queries of the lowest priorities get kResourceExhausted as their answer, where that makes room; else submit
               ///< fails
};

struct ServerOptions {
  /// Of the session that the server makes: threads, the limits of a batch, the pool.
  SessionOptions session;
  Strategy strategy = Strategy::kPacked;
  uint32_t max_queued = 4096;  ///< queries that wait or run at most; a fan-out counts once for every task
  /// Tokens of the queries that wait, at most; 0: 64 for each of max_queued. Counted in pages of 32.
  uint32_t max_queued_tokens = 0;
  Overflow overflow = Overflow::kBlock;
  /// A latency table made by `pets-bench profile` on this device; empty: a model is fitted when the server is made.
  std::string latency_table;
  /// That fitting may take, about; 0: no measurement, the model starts from the sizes of the encoder and learns while it serves.
  double fit_seconds = 0.25;
  uint32_t fixed_batch_queries = 32;  ///< of Strategy::kFixed
  /// Strategy::kPacked: after how long a query without a deadline goes first, and what one step of priority is worth; 0: ten full batches.
  double patience_seconds = 0;
  /// Tasks that are counted one by one (27 KiB each, touched when the task is first seen), those beyond together; 0: nothing is counted.
  uint32_t metrics_tasks = 0;
  uint32_t trace_batches = 0;  ///< batches that `trace_json` shows, 64 bytes each
};

struct SubmitOptions {
  int32_t priority = 0;  ///< higher goes first, under Strategy::kPacked
  /// A query that has not begun to run by then is answered with kDeadlineExceeded.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

/// Of one submission: never 0, never twice.
using QueryId = uint64_t;

/// An answer that holds what an Answer points to.
struct OwnedAnswer {
  OwnedAnswer() = default;
  /// `owner` is what keeps the answer's TaskInfo (Model::find_task); without it, or where it is another one, the info is copied.
  explicit OwnedAnswer(const Answer& answer, std::shared_ptr<const TaskInfo> owner = nullptr);

  Status status;
  std::shared_ptr<const TaskInfo> task;  ///< null where the status is an error
  bool truncated = false;
  std::vector<AnswerToken> tokens;
  std::vector<float> logits, scores;
  AnswerSpan span;
};

/// One queue, one session, one worker thread. All members are thread-safe. Every query that is accepted is answered exactly once; one that
/// is refused was never accepted, and submit says why. Tasks may be added to the model and removed while it serves: a query is bound to its
/// task when it is submitted, and answered by that task even if it is removed while it waits.
class Server {
 public:
  /// Bytes of `Model::load(path, model)` and a server with these options, before anything is loaded (pets::plan); its queue: at most.
  static Result<Plan> plan(const char* path, const ModelOptions& model = {}, const ServerOptions& options = {},
                           const std::vector<std::string>& delta_paths = {}) noexcept;
  /// Allocates everything that it needs to serve (`bytes`); afterwards only what goes into futures and closures is allocated. Errors as
  /// Session::create, and those of the latency table.
  static Result<std::unique_ptr<Server>> create(std::shared_ptr<Model> model, const ServerOptions& options = {}) noexcept;
  /// Stops: what waits is answered with kCancelled. Not inside a callback, nor while another thread is in a member.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// `part`: the index of the task in a fan-out, else 0. Called on the worker's thread; for a query that is cancelled or shed on the
  /// thread that does it, for a bad member of a fan-out on the submitting one. May submit and cancel; must not throw, and holds up every
  /// other answer while it runs. Views in `answer` are valid until it returns.
  using AnswerFn = void (*)(void* context, QueryId id, uint32_t part, const Answer& answer);

  /// Reads the query on this thread and queues it. The query's views need not outlive the call. Errors: what Session::run answers for a bad
  /// query; kDeadlineExceeded, also while waiting for room; kResourceExhausted where there is no room; kUnavailable after stop.
  Result<QueryId> submit(const Query& query, const SubmitOptions& options, AnswerFn on_answer, void* context) noexcept;
  /// A fan-out: one text, many tasks (`query.task` is not used). One answer for every task; what the tasks do not change is computed once.
  /// A task that cannot take the query has its error as its answer; so have all tasks that read the query alike where the queue has no room
  /// for them together, their deadline passes or the server is stopped. Errors: no task, over 4,096; kDeadlineExceeded at once; where there
  /// is one task alone, all of the above.
  Result<QueryId> submit(std::span<const std::string_view> tasks, const Query& query, const SubmitOptions& options, AnswerFn on_answer,
                         void* context) noexcept;

  /// The same with a future. A refused query is an answer with that status. Allocates.
  std::future<OwnedAnswer> submit(const Query& query, const SubmitOptions& options = {});
  /// The same with any callable `void(QueryId, uint32_t part, const Answer&)`, which is moved into memory of its own until the last answer.
  template <typename Callback>
  requires std::is_invocable_v<Callback&, QueryId, uint32_t, const Answer&> Result<QueryId> submit(const Query& query,
                                                                                                   const SubmitOptions& options,
                                                                                                   Callback on_answer) {
    auto holder = std::make_unique<Callback>(std::move(on_answer));
    Result<QueryId> id = submit(
        query, options,
        [](void* context, QueryId query_id, uint32_t part, const Answer& answer) {
          const std::unique_ptr<Callback> callback(static_cast<Callback*>(context));
          (*callback)(query_id, part, answer);
        },
        holder.get());
    if (id.is_ok()) (void)holder.release();
    return id;
  }

  /// Answers what still waits of a submission with kCancelled, on this thread. False where nothing of it waits any more.
  bool cancel(QueryId id) noexcept;
  /// Waits until everything that was accepted is answered. An error inside a callback.
  Status drain() noexcept;
  /// Accepts nothing any more, answers what waits (`finish`: by running it; else with kCancelled) and ends the worker. An error inside
  /// a callback.
  Status stop(bool finish = true) noexcept;

  /// What it counted so far; zeros without ServerOptions::metrics_tasks. These three allocate what they return.
  MetricsSnapshot metrics() const;
  /// The same in Prometheus' text format 0.0.4; empty without ServerOptions::metrics_tasks.
  std::string metrics_text() const;
  /// The last batches as a timeline in Chrome's trace format (chrome://tracing, ui.perfetto.dev).
  std::string trace_json() const;

  Model& model() const noexcept;
  /// Of the queue, the counters and the session's arena: allocated when the server was made.
  uint64_t bytes() const noexcept;
  /// Queries that wait.
  uint32_t queued() const noexcept;

  class Impl;
  Impl& impl() const noexcept { return *impl_; }

 private:
  explicit Server(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pets
