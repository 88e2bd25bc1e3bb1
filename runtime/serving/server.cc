#include "pets/server.h"

#include <algorithm>
#include <cinttypes>
#include <new>
#include <system_error>

#include "runtime/engine/plan.h"
#include "runtime/platform/check.h"
#include "runtime/platform/processors.h"
#include "runtime/serving/fit.h"
#include "runtime/serving/latency_table.h"
#include "runtime/serving/prometheus.h"
#include "runtime/serving/server_impl.h"

namespace pets {

using serving::ServerSizes;

uint64_t serving::ServerSizes::bytes() const {
  // A scheduler's item is held by a handful of arrays, a strategy's included.
  constexpr uint64_t kSchedulerBytes = 3 * sizeof(serving::Item) + 16 * sizeof(uint64_t);
  return QueryQueue::bytes(slots, queued_tokens) + staged_tokens * sizeof(tokenizer::Token) +
         slots * (kSchedulerBytes + sizeof(engine::PreparedQuery) + sizeof(uint32_t) + sizeof(void*)) + counters +
         (desks + 1) * (query_tokens * sizeof(tokenizer::Token) + desk_scratch);
}

Server::Impl::Impl(std::shared_ptr<Model> model, const ServerOptions& options, const ServerSizes& sizes,
                   std::unique_ptr<serving::BatchRunner> runner, const engine::EncoderCapacity& capacity, serving::CostModel costs,
                   serving::Records records)
    : model_(std::move(model)),
      internals_(model_->impl()),
      options_(options),
      sizes_(sizes),
      runner_(std::move(runner)),
      capacity_(capacity),
      records_(std::move(records)),
      queue_(sizes.slots, sizes.queued_tokens),
      scheduler_(options.strategy,
                 {{capacity.tokens, capacity.queries}, sizes.slots, options.fixed_batch_queries, 1.0, options.patience_seconds},
                 std::move(costs)),
      staged_tokens_(sizes.staged_tokens) {
  prepared_.reserve(sizes.slots);
  running_.reserve(sizes.slots);
  batch_tasks_.reserve(sizes.slots);
  free_desks_.reserve(sizes.desks);
  const auto make_desk = [&] { return std::make_unique<serving::Desk>(internals_.tasks, sizes.query_tokens, sizes.desk_scratch); };
  worker_desk_ = make_desk();
  for (uint32_t i = 0; i < sizes.desks; ++i) {
    desks_.push_back(make_desk());
    free_desks_.push_back(desks_.back().get());
  }
  internals_.session_bytes += sizes_.bytes();
}

Server::Impl::~Impl() {
  (void)stop(false);
  internals_.session_bytes -= sizes_.bytes();
}

void Server::Impl::start() {
  worker_ = std::thread([this] { work(); });
}

Status Server::Impl::drain() {
  if (in_callback()) return Status::error(ErrorCode::kInvalidArgument, "drain: expected a call from outside of the server's callbacks");
  Lock lock(mutex_);
  idle_.wait(lock, [&] { return unanswered_ == 0; });
  return Status::ok();
}

Status Server::Impl::stop(bool finish) {
  if (in_callback()) return Status::error(ErrorCode::kInvalidArgument, "stop: expected a call from outside of the server's callbacks");
  {
    const Lock lock(mutex_);
    if (!stopping_) finish_ = finish;
    if (!finish) finish_ = false;
    stopping_ = true;
    work_.notify_all();
    wake_waiters();
  }
  const std::lock_guard<std::mutex> lock(stop_mutex_);
  if (worker_.joinable()) worker_.join();
  return drain();  // what another thread still withdraws
}

uint32_t Server::Impl::queued() const {
  const Lock lock(mutex_);
  return waiting_;
}

namespace {

Status check_options(const ServerOptions& options) {
  constexpr uint32_t kMost = 1U << 20;
  if (options.max_queued == 0 || options.max_queued > kMost) {
    return Status::error(ErrorCode::kInvalidArgument, "max_queued: expected 1 to %u, found %u", kMost, options.max_queued);
  }
  constexpr uint32_t kMostTokens = 1U << 26;
  if (options.max_queued_tokens > kMostTokens) {
    return Status::error(ErrorCode::kInvalidArgument, "max_queued_tokens: expected 0 to %u, found %u", kMostTokens,
                         options.max_queued_tokens);
  }
  if (options.overflow > Overflow::kShedLowest) {
    return Status::error(ErrorCode::kInvalidArgument, "overflow: expected 0 to %d, found %d", static_cast<int>(Overflow::kShedLowest),
                         static_cast<int>(options.overflow));
  }
  if (options.strategy > Strategy::kFixed) {
    return Status::error(ErrorCode::kInvalidArgument, "strategy: expected 0 to %d, found %d", static_cast<int>(Strategy::kFixed),
                         static_cast<int>(options.strategy));
  }
  if (options.fixed_batch_queries == 0) {
    return Status::error(ErrorCode::kInvalidArgument, "fixed_batch_queries: expected at least 1, found 0");
  }
  if (!(options.fit_seconds >= 0) || !(options.patience_seconds >= 0)) {
    return Status::error(ErrorCode::kInvalidArgument, "fit_seconds and patience_seconds: expected 0 or more, found %g and %g",
                         options.fit_seconds, options.patience_seconds);
  }
  return Status::ok();
}

Result<serving::CostModel> make_costs(const ServerOptions& options, Session& session) {
  if (options.latency_table.empty()) {
    const serving::LatencyTable fitted =
        options.fit_seconds == 0 ? serving::nominal_table(session.impl()) : serving::fit_at_load(session.impl(), options.fit_seconds);
    return serving::CostModel(fitted.alpha, fitted.beta);
  }
  PETS_ASSIGN_OR_RETURN(const serving::LatencyTable table, serving::read_latency_table(options.latency_table.c_str()));
  PETS_RETURN_IF_ERROR(serving::check_key(table.key, serving::key_of(session.impl()), options.latency_table.c_str()));
  return serving::CostModel(table.alpha, table.beta);
}

ServerSizes sizes_of(const ServerOptions& options, uint32_t positions, const engine::EncoderCapacity& capacity, size_t tokenizer_scratch,
                     uint64_t arena) {
  constexpr uint64_t kTokensAQuery = 64;
  ServerSizes sizes;
  sizes.slots = options.max_queued;
  sizes.query_tokens = positions;
  const uint64_t tokens = options.max_queued_tokens != 0 ? options.max_queued_tokens : kTokensAQuery * options.max_queued;
  sizes.queued_tokens = static_cast<uint32_t>(std::max<uint64_t>(tokens, positions));
  sizes.staged_tokens = std::max(capacity.tokens, positions);
  sizes.desks = std::min(usable_processors() + 1, 16U);
  sizes.desk_scratch = tokenizer_scratch;
  sizes.counters = options.metrics_tasks != 0 ? serving::Metrics::bytes_needed(options.metrics_tasks) : 0;
  sizes.counters += options.trace_batches * serving::BatchTrace::kRecordBytes;
  sizes.arena = arena;
  return sizes;
}

/// The strategy orders.
SessionOptions session_options(const ServerOptions& options) {
  SessionOptions session = options.session;
  session.any_order = false;
  return session;
}

}  // namespace

Result<Plan> Server::plan(const char* path, const ModelOptions& model, const ServerOptions& options,
                          const std::vector<std::string>& delta_paths) noexcept {
  PETS_RETURN_IF_ERROR(check_options(options));
  try {
    PETS_ASSIGN_OR_RETURN(const engine::SessionPlan session, engine::plan_session(path, model, session_options(options), delta_paths));
    Plan plan = session.plan;
    plan.server_bytes = sizes_of(options, session.positions, session.capacity, session.tokenizer_scratch, plan.arena_bytes).bytes();
    plan.total_bytes += plan.server_bytes;
    return plan;
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "%s: out of memory", path);
  }
}

Result<std::unique_ptr<Server>> Server::create(std::shared_ptr<Model> model, const ServerOptions& options) noexcept {
  if (model == nullptr) return Status::error(ErrorCode::kInvalidArgument, "a server: expected a model, found null");
  PETS_RETURN_IF_ERROR(check_options(options));
  try {
    PETS_ASSIGN_OR_RETURN(auto runner, serving::SessionRunner::create(model, session_options(options)));
    const Session::Impl& session = runner->session().impl();
    const engine::EncoderCapacity capacity = session.capacity;
    const ServerSizes sizes =
        sizes_of(options, session.internals.base.positions, capacity, session.memory.tokenizer_scratch.size(), session.block.size());
    PETS_ASSIGN_OR_RETURN(serving::BatchTrace trace, serving::BatchTrace::create(options.trace_batches));
    serving::Records records{nullptr, std::move(trace)};
    if (options.metrics_tasks != 0) {
      PETS_ASSIGN_OR_RETURN(records.metrics, serving::Metrics::create(options.metrics_tasks));
    }
    Model::Impl& internals = model->impl();
    const uint64_t limit = internals.options.memory_limit, needed = internals.used_bytes() + sizes.bytes();
    if (limit != 0 && needed > limit) {
      return Status::error(ErrorCode::kResourceExhausted,
                           "the model and this server need %" PRIu64 " bytes (%" PRIu64
                           " of them for the queue), the memory limit is %" PRIu64,
                           needed, sizes.bytes(), limit);
    }
    PETS_ASSIGN_OR_RETURN(serving::CostModel costs, make_costs(options, runner->session()));
    auto impl = std::make_unique<Impl>(std::move(model), options, sizes, std::move(runner), capacity, std::move(costs), std::move(records));
    impl->start();
    return std::unique_ptr<Server>(new Server(std::move(impl)));
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "a server: out of memory");
  } catch (const std::system_error& error) {
    return Status::error(ErrorCode::kResourceExhausted, "a server: no thread: %s", error.what());
  }
}

OwnedAnswer::OwnedAnswer(const Answer& answer, std::shared_ptr<const TaskInfo> owner)
    : status(answer.status),
      truncated(answer.truncated),
      tokens(answer.tokens.begin(), answer.tokens.end()),
      logits(answer.logits.begin(), answer.logits.end()),
      scores(answer.scores.begin(), answer.scores.end()),
      span(answer.span) {
  if (answer.task != nullptr) task = owner.get() == answer.task ? std::move(owner) : std::make_shared<const TaskInfo>(*answer.task);
}

Server::Server(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<QueryId> Server::submit(const Query& query, const SubmitOptions& options, AnswerFn on_answer, void* context) noexcept {
  return impl_->submit({&query.task, 1}, query, options, on_answer, context);
}
Result<QueryId> Server::submit(std::span<const std::string_view> tasks, const Query& query, const SubmitOptions& options,
                               AnswerFn on_answer, void* context) noexcept {
  return impl_->submit(tasks, query, options, on_answer, context);
}
std::future<OwnedAnswer> Server::submit(const Query& query, const SubmitOptions& options) {
  struct Promise {
    const Model& model;
    std::promise<OwnedAnswer> answer;
  };
  auto promise = std::make_unique<Promise>(Promise{impl_->model(), {}});
  std::future<OwnedAnswer> future = promise->answer.get_future();
  const Result<QueryId> id = submit(
      query, options,
      [](void* context, QueryId, uint32_t, const Answer& answer) {
        const std::unique_ptr<Promise> own(static_cast<Promise*>(context));
        own->answer.set_value(OwnedAnswer(answer, answer.task == nullptr ? nullptr : own->model.find_task(answer.task->name)));
      },
      promise.get());
  if (id) {
    (void)promise.release();  // the callback owns it now
  } else {
    Answer refused;
    refused.status = id.status();
    promise->answer.set_value(OwnedAnswer(refused));
  }
  return future;
}
bool Server::cancel(QueryId id) noexcept { return impl_->cancel(id); }
Status Server::drain() noexcept { return impl_->drain(); }
Status Server::stop(bool finish) noexcept { return impl_->stop(finish); }
MetricsSnapshot Server::metrics() const {
  serving::Metrics* metrics = impl_->records().metrics.get();
  if (metrics == nullptr) return {};
  metrics->on_queue_length(queued());  // a batch's is of when it was taken
  return metrics->snapshot();
}
std::string Server::metrics_text() const {
  serving::Metrics* metrics = impl_->records().metrics.get();
  if (metrics == nullptr) return {};
  metrics->on_queue_length(queued());
  return serving::prometheus_text(*metrics);
}
std::string Server::trace_json() const { return serving::chrome_trace(impl_->records().trace.records()); }
Model& Server::model() const noexcept { return impl_->model(); }
uint64_t Server::bytes() const noexcept { return impl_->bytes(); }
uint32_t Server::queued() const noexcept { return impl_->queued(); }

}  // namespace pets
