#include "pets/session.h"

#include <algorithm>
#include <cinttypes>
#include <new>
#include <optional>

#include "runtime/engine/decode.h"
#include "runtime/engine/query_encoder.h"
#include "runtime/engine/session_impl.h"
#include "runtime/platform/check.h"

namespace pets {
namespace {

using engine::PreparedQuery;
using engine::Sequence;
using engine::Task;
using engine::TaskSet;

/// Makes `sequence` one more of the group of `other`.
void follow(const Sequence& other, Sequence& sequence) {
  sequence.leader = other.leader;
  sequence.token_begin = other.token_begin;
  sequence.rows = other.rows;
  sequence.tokens = other.tokens;
  sequence.truncated = other.truncated;
}

/// The queries of a run, read as they are taken.
class QueryRun final : public engine::BatchSource {
 public:
  QueryRun(const Session::Impl& session, const engine::SessionMemory& memory, std::span<const Query> queries)
      : session_(session), memory_(memory), queries_(queries) {}
  void use(const TaskSet& set) { set_ = &set; }

  size_t index(size_t position) const override { return memory_.order.query(position); }

  Status read(size_t position, uint32_t token_begin, Sequence& sequence) override {
    const Query& query = queries_[index(position)];
    const std::optional<uint32_t> found = set_->find(query.task);
    if (!found) return engine::unknown_task(query.task);
    sequence.task = set_->tasks[*found].get();
    PETS_RETURN_IF_ERROR(session_.check_limits(*sequence.task));
    if (find_leader(position, query, sequence)) {
      // The text was good for another task; what its own task asks of it is still to be seen.
      return query.has_ids ? Status::ok() : engine::check_text_query(session_.internals, *sequence.task, query);
    }
    sequence.token_begin = token_begin;
    const std::span<tokenizer::Token> room(memory_.tokens + token_begin, memory_.token_capacity - token_begin);
    PETS_ASSIGN_OR_RETURN(const tokenizer::Encoding encoding,
                          engine::encode_query(session_.internals, *sequence.task, query, room, memory_.tokenizer_scratch));
    sequence.rows = sequence.tokens = encoding.count;
    sequence.truncated = encoding.truncated;
    return Status::ok();
  }

 private:
  /// Looks for the same tokens among the sequences of the batch that were taken last, as long as they are of the same text.
  bool find_leader(size_t position, const Query& query, Sequence& sequence) const {
    const auto taken = memory_.batch.sequences();
    for (size_t i = taken.size(); i-- > 0;) {
      const Sequence& other = taken[i];
      if (!engine::same_text(queries_[index(position - (sequence.query - other.query))], query)) return false;
      if (!engine::same_tokens({other.tokens, other.truncated}, other.task->info.max_length, sequence.task->info.max_length)) continue;
      follow(other, sequence);
      return true;
    }
    return false;
  }

  const Session::Impl& session_;
  const engine::SessionMemory& memory_;
  std::span<const Query> queries_;
  const TaskSet* set_ = nullptr;
};

/// Queries that were read before.
class PreparedRun final : public engine::BatchSource {
 public:
  PreparedRun(const Session::Impl& session, const engine::SessionMemory& memory, std::span<const PreparedQuery> queries)
      : session_(session), memory_(memory), queries_(queries) {}

  size_t index(size_t position) const override { return position; }

  Status read(size_t position, uint32_t token_begin, Sequence& sequence) override {
    const PreparedQuery& query = queries_[position];
    PETS_RETURN_IF_ERROR(session_.check_limits(*query.task));
    sequence.task = query.task;
    sequence.tokens = static_cast<uint32_t>(query.tokens.size());
    sequence.rows = std::max(sequence.tokens, query.padded_rows);
    sequence.truncated = query.truncated;
    if (sequence.rows > session_.internals.base.positions) {
      return Status::error(ErrorCode::kInvalidArgument, "expected at most %u rows a query, found %u", session_.internals.base.positions,
                           sequence.rows);
    }
    if (const Sequence* other = same_tokens(position, sequence); other != nullptr) {
      follow(*other, sequence);
      sequence.truncated = query.truncated;
      return Status::ok();
    }
    sequence.token_begin = token_begin;
    tokenizer::Token* const room = memory_.tokens + token_begin;
    std::copy(query.tokens.begin(), query.tokens.end(), room);
    std::fill(room + sequence.tokens, room + sequence.rows, tokenizer::Token{});
    return Status::ok();
  }

 private:
  /// The sequence that was taken last, where it has the same tokens and as many rows.
  const Sequence* same_tokens(size_t position, const Sequence& sequence) const {
    const auto taken = memory_.batch.sequences();
    if (taken.empty()) return nullptr;
    const Sequence& last = taken.back();
    for (uint32_t back = 0; back < sequence.query - last.query; ++back) {  // over those that could not be read
      if (!queries_[position - back].same_tokens) return nullptr;
    }
    return last.tokens == sequence.tokens && last.rows == sequence.rows ? &last : nullptr;
  }

  const Session::Impl& session_;
  const engine::SessionMemory& memory_;
  std::span<const PreparedQuery> queries_;
};

}  // namespace

Session::Impl::Impl(std::shared_ptr<Model> owner, const engine::EncoderCapacity& planned)
    : model(std::move(owner)), internals(model->impl()), capacity(planned), reader(internals.tasks) {}
Session::Impl::~Impl() {
  internals.session_bytes -= block.size();
  if (device != nullptr) internals.session_device_bytes -= device->device_bytes();
}

Status Session::Impl::check_limits(const Task& task) const { return engine::check_limits(task, capacity); }

/// Takes queries from position `first` on, until the batch is full or `end` is reached. Returns how many were taken, bad ones included.
size_t Session::Impl::fill_batch(engine::BatchSource& source, size_t first, size_t end) {
  memory.batch.clear();
  size_t taken = 0;
  while (taken < capacity.queries && first + taken < end) {
    Sequence sequence;
    sequence.query = static_cast<uint32_t>(taken);
    Status status = source.read(first + taken, memory.batch.token_end(), sequence);
    if (status.is_ok() && sequence.rows > capacity.tokens) {
      status = Status::error(ErrorCode::kResourceExhausted, "the query has %u tokens, a batch of this session holds %u (max_batch_tokens)",
                             sequence.rows, capacity.tokens);
    }
    if (status.is_ok() && !memory.batch.fits(sequence, capacity.tokens)) break;
    if (status.is_ok()) memory.batch.append(sequence);
    ::new (&memory.query_status[taken]) Status(status);
    ++taken;
  }
  return taken;
}

void Session::Impl::deliver(const engine::BatchSource& source, size_t first, size_t count, AnswerFn on_answer, void* context) {
  const auto sequences = memory.batch.sequences();
  for (uint32_t i = 0; i < sequences.size(); ++i) memory.query_sequence[sequences[i].query] = i;
  for (size_t q = 0; q < count; ++q) {
    Answer answer;
    answer.status = memory.query_status[q];
    if (answer.status.is_ok()) {
      const uint32_t index = memory.query_sequence[q];
      const Sequence& sequence = sequences[index];
      const std::span<const tokenizer::Token> tokens(memory.tokens + sequence.token_begin, sequence.tokens);
      for (uint32_t t = 0; t < sequence.tokens; ++t) {
        memory.answer_tokens[t] = {tokens[t].start, tokens[t].end, tokens[t].segment, tokens[t].special, tokens[t].id};
      }
      const uint32_t begin = memory.heads.logit_begin[index], end = memory.heads.logit_begin[index + 1];
      answer.task = &sequence.task->info;
      answer.truncated = sequence.truncated;
      answer.tokens = {memory.answer_tokens, sequence.tokens};
      answer.logits = {memory.heads.logits + begin, end - begin};
      answer.scores = {memory.scores, engine::probabilities(answer.task->head, answer.task->outputs, answer.logits, memory.scores)};
      if (answer.task->head == HeadType::kQuestionAnswering) answer.span = engine::best_span(answer.logits, tokens);
    }
    on_answer(context, source.index(first + q), answer);
  }
}

Status Session::Impl::compute_logits() {
  memory.batch.group();
  if (device != nullptr) return device->run(memory.batch, memory.tokens, memory.heads);
  engine::Encoder(*internals.kernels, internals.base, memory.encoder, *pool).run(memory.batch, memory.tokens);
  engine::Heads(*internals.kernels, internals.base, memory.encoder, memory.heads, *pool).run(memory.batch);
  return Status::ok();
}

/// Fills a batch and computes its logits. Returns how many queries were taken. Where the tasks of a batch do not fit on the device
/// together, or one of them cannot be there, a smaller one is taken.
size_t Session::Impl::run_batch(engine::BatchSource& source, size_t first, size_t end) {
  for (size_t most = end - first;;) {
    const size_t taken = fill_batch(source, first, first + most);
    if (memory.batch.rows() == 0) return taken;
    const Status status = compute_logits();
    if (status.is_ok()) return taken;
    if (status.code() != ErrorCode::kInternal && taken > 1) {  // some task's fault: the others go on
      most = taken / 2;
      continue;
    }
    for (const Sequence& sequence : memory.batch.sequences()) memory.query_status[sequence.query] = status;
    return taken;
  }
}

Status Session::Impl::run(std::span<const Query> queries, AnswerFn on_answer, void* context) {
  QueryRun source(*this, memory, queries);
  size_t window = 0, next = 0;  // queries of the window, position in it
  for (size_t begin = 0; begin < queries.size();) {
    const TaskSet* set = reader.acquire();
    source.use(*set);
    if (next == 0) window = memory.order.open_window(*set, queries, begin);
    const size_t taken = run_batch(source, next, window);
    deliver(source, next, taken, on_answer, context);
    next += taken;
    if (next == window) {
      begin += window;
      next = 0;
    }
    set->release();
  }
  return Status::ok();
}

void Session::Impl::run_prepared(std::span<const PreparedQuery> queries, AnswerFn on_answer, void* context) {
  PreparedRun source(*this, memory, queries);
  for (size_t next = 0; next < queries.size();) {
    const size_t taken = run_batch(source, next, queries.size());
    deliver(source, next, taken, on_answer, context);
    next += taken;
  }
}

Session::Session(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Session::~Session() = default;

Result<std::unique_ptr<Session>> Session::create(std::shared_ptr<Model> model, const SessionOptions& options) noexcept {
  if (model == nullptr) return Status::error(ErrorCode::kInvalidArgument, "a session: expected a model, found null");
  try {
    PETS_ASSIGN_OR_RETURN(const uint32_t threads, engine::check_session_options(options));
    Model::Impl& internals = model->impl();
    engine::TaskLimits limits;
    engine::DeviceTasks device_tasks;
    internals.tasks.view([&](const TaskSet& set) {
      for (const auto& task : set.tasks) {
        limits.include(task->limits);
        if (internals.device != nullptr) device_tasks.include(internals.device->task_bytes(task->weights), task->weights);
      }
    });
    engine::EncoderCapacity capacity = engine::plan_capacity(internals.base, limits, options, threads);
    if (internals.device != nullptr) engine::plan_device_capacity(internals.base, device_tasks, options, capacity);
    const size_t scratch = internals.has_tokenizer ? internals.tokenizer.scratch_bytes() : 0;
    memory::Arena counting;
    engine::SessionMemory().lay_out(counting, internals.base, capacity, scratch);
    const uint64_t limit = internals.options.memory_limit;
    const uint64_t own = counting.used() + (internals.device == nullptr ? 0 : internals.device->session_bytes(capacity));
    const uint64_t needed = internals.used_bytes() + own;
    if (limit != 0 && needed > limit) {
      return Status::error(ErrorCode::kResourceExhausted,
                           "the model and this session need %" PRIu64 " bytes (%" PRIu64
                           " of them for the session), the memory limit is %" PRIu64,
                           needed, own, limit);
    }
    auto impl = std::make_unique<Impl>(std::move(model), capacity);
    PETS_ASSIGN_OR_RETURN(impl->block, memory::Block::allocate(counting.used()));
    internals.session_bytes += impl->block.size();
    memory::Arena arena(impl->block.data(), impl->block.size());
    impl->memory.lay_out(arena, internals.base, capacity, scratch);
    impl->pool = options.pool;
    if (impl->pool == nullptr) {
      PETS_ASSIGN_OR_RETURN(impl->own_pool, ThreadPool::create(threads));
      impl->pool = impl->own_pool.get();
    }
    if (impl->internals.device != nullptr) {
      PETS_ASSIGN_OR_RETURN(impl->device, impl->internals.device->make_encoder(capacity));
      impl->internals.session_device_bytes += impl->device->device_bytes();
    }
    return std::unique_ptr<Session>(new Session(std::move(impl)));
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "a session: out of memory");
  }
}

Status Session::run(std::span<const Query> queries, AnswerFn on_answer, void* context) noexcept {
  return impl_->run(queries, on_answer, context);
}
Model& Session::model() const noexcept { return *impl_->model; }
uint64_t Session::arena_bytes() const noexcept { return impl_->block.size(); }
uint64_t Session::device_bytes() const noexcept { return impl_->device == nullptr ? 0 : impl_->device->device_bytes(); }
DeviceCounters Session::device_counters() const noexcept { return impl_->device == nullptr ? DeviceCounters() : impl_->device->counters(); }
uint32_t Session::threads() const noexcept { return impl_->capacity.threads; }

}  // namespace pets
