#include "pets/session.h"

#include <algorithm>
#include <cinttypes>
#include <new>
#include <optional>

#include "runtime/engine/decode.h"
#include "runtime/engine/model_impl.h"
#include "runtime/engine/session_memory.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets {
namespace {

using engine::Sequence;
using engine::Task;
using engine::TaskSet;

/// Slots on a device for tasks that are added after a session was made.
constexpr uint32_t kLaterTasks = 16;

/// A string for a message, cut between two characters, so that a hostile name cannot fill it.
struct Shown {
  explicit Shown(std::string_view whole) {
    const std::string_view start = utf8::prefix(whole, sizeof text - 1);
    std::replace_copy(start.begin(), start.end(), text, '\0', '?');  // a 0 would end the message
  }
  char text[129] = {};
};

}  // namespace

class Session::Impl {
 public:
  Impl(std::shared_ptr<Model> owner, const engine::EncoderCapacity& planned)
      : model(std::move(owner)), internals(model->impl()), capacity(planned), reader(internals.tasks) {}
  ~Impl() { internals.session_bytes -= block.size(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status run(std::span<const Query> queries, AnswerFn on_answer, void* context);

  std::shared_ptr<Model> model;
  Model::Impl& internals;
  engine::EncoderCapacity capacity;
  engine::TaskSetCell::Reader reader;
  memory::Block block;
  engine::SessionMemory memory;
  std::unique_ptr<engine::DeviceEncoder> device;  // null: the encoder runs on the CPU
  std::unique_ptr<ThreadPool> own_pool;
  ThreadPool* pool = nullptr;

 private:
  Status encode(const TaskSet& set, const Query& query, uint32_t token_begin, Sequence& sequence);
  Status encode_ids(const Query& query, const Task& task, uint32_t token_begin, Sequence& sequence);
  size_t fill_batch(const TaskSet& set, std::span<const Query> queries, size_t first, size_t end);
  size_t run_batch(const TaskSet& set, std::span<const Query> queries, size_t first, size_t end);
  Status encode_batch();
  void deliver(size_t first, size_t count, AnswerFn on_answer, void* context);
};

Status Session::Impl::encode_ids(const Query& query, const Task& task, uint32_t token_begin, Sequence& sequence) {
  const uint32_t vocabulary = internals.base.vocabulary;
  if (query.ids.empty()) return Status::error(ErrorCode::kInvalidArgument, "ids: expected at least one token id, found none");
  if (query.ids.size() > task.info.max_length) {
    return Status::error(ErrorCode::kInvalidArgument, "ids: task '%s' takes at most %u token ids, found %zu", Shown(task.info.name).text,
                         task.info.max_length, query.ids.size());
  }
  for (size_t i = 0; i < query.ids.size(); ++i) {
    const int32_t id = query.ids[i];
    if (id < 0 || static_cast<uint32_t>(id) >= vocabulary) {
      return Status::error(ErrorCode::kInvalidArgument, "ids[%zu]: expected 0 to %u, found %" PRId32, i, vocabulary - 1, id);
    }
    memory.tokens[token_begin + i] = {id, 0, 0, 0, internals.has_tokenizer && internals.tokenizer.is_special(id)};
  }
  sequence.rows = static_cast<uint32_t>(query.ids.size());
  return Status::ok();
}

/// Tokens of one query at `token_begin` of the token buffer.
Status Session::Impl::encode(const TaskSet& set, const Query& query, uint32_t token_begin, Sequence& sequence) {
  const std::optional<uint32_t> index = set.find(query.task);
  if (!index) return Status::error(ErrorCode::kNotFound, "unknown task '%s'", Shown(query.task).text);
  const Task* task = set.tasks[*index].get();
  if (!task->limits.within(capacity.tasks)) {
    return Status::error(ErrorCode::kResourceExhausted,
                         "task '%s' was added after this session was made and needs more scratch than was planned (rank %u, bottleneck %u, "
                         "outputs %u): make a new session",
                         task->info.name.c_str(), task->limits.rank, task->limits.inner, task->info.outputs);
  }
  sequence.task = task;
  sequence.task_index = *index;
  sequence.token_begin = token_begin;
  if (query.has_ids) {
    PETS_RETURN_IF_ERROR(encode_ids(query, *task, token_begin, sequence));
  } else {
    if (!internals.has_tokenizer) {
      return Status::error(ErrorCode::kInvalidArgument, "this bundle holds no tokenizer: queries need token ids");
    }
    if (task->info.head == HeadType::kQuestionAnswering && !query.has_text_pair) {
      return Status::error(ErrorCode::kInvalidArgument, "task '%s' answers questions: expected a text_pair with the context, found none",
                           task->info.name.c_str());
    }
    if (query.has_text_pair && internals.base.token_types < 2) {
      return Status::error(ErrorCode::kInvalidArgument, "text_pair: its tokens are of type 1, this base has %u token type",
                           internals.base.token_types);
    }
    const std::span<tokenizer::Token> room(memory.tokens + token_begin, memory.token_capacity - token_begin);
    PETS_ASSIGN_OR_RETURN(const tokenizer::Encoding encoding,
                          internals.tokenizer.encode(query.text, query.text_pair, query.has_text_pair, task->info.max_length, room,
                                                     memory.tokenizer_scratch));
    sequence.rows = encoding.count;
    sequence.truncated = encoding.truncated;
  }
  if (sequence.rows > capacity.tokens) {
    return Status::error(ErrorCode::kResourceExhausted, "the query has %u tokens, a batch of this session holds %u (max_batch_tokens)",
                         sequence.rows, capacity.tokens);
  }
  return Status::ok();
}

/// Takes queries from position `first` of the window on, until the batch is full or the window ends. Returns how many were taken, bad ones
/// included.
size_t Session::Impl::fill_batch(const TaskSet& set, std::span<const Query> queries, size_t first, size_t end) {
  memory.batch.clear();
  size_t taken = 0;
  while (taken < capacity.queries && first + taken < end) {
    Sequence sequence;
    sequence.query = static_cast<uint32_t>(taken);
    Status status = encode(set, queries[memory.order.query(first + taken)], memory.batch.rows(), sequence);
    if (status.is_ok() && memory.batch.rows() + sequence.rows > capacity.tokens) break;
    if (status.is_ok()) memory.batch.append(sequence);
    ::new (&memory.query_status[taken]) Status(status);
    ++taken;
  }
  return taken;
}

void Session::Impl::deliver(size_t first, size_t count, AnswerFn on_answer, void* context) {
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
    on_answer(context, memory.order.query(first + q), answer);
  }
}

Status Session::Impl::encode_batch() {
  memory.batch.group();
  if (device != nullptr) return device->run(memory.batch, memory.tokens, memory.encoder.hidden);
  engine::Encoder(*internals.kernels, internals.base, memory.encoder, *pool).run(memory.batch, memory.tokens);
  return Status::ok();
}

/// Fills a batch and computes its logits. Returns how many queries were taken. Where the tasks of a batch do not fit on the device
/// together, or one of them cannot be there, a smaller one is taken.
size_t Session::Impl::run_batch(const TaskSet& set, std::span<const Query> queries, size_t first, size_t end) {
  for (size_t most = end - first;;) {
    const size_t taken = fill_batch(set, queries, first, first + most);
    if (memory.batch.rows() == 0) return taken;
    const Status status = encode_batch();
    if (status.is_ok()) {
      engine::Heads(*internals.kernels, internals.base, memory.encoder, memory.heads, *pool).run(memory.batch);
      return taken;
    }
    if (status.code() != ErrorCode::kInternal && taken > 1) {  // some task's fault: the others go on
      most = taken / 2;
      continue;
    }
    for (const Sequence& sequence : memory.batch.sequences()) memory.query_status[sequence.query] = status;
    return taken;
  }
}

Status Session::Impl::run(std::span<const Query> queries, AnswerFn on_answer, void* context) {
  size_t window = 0, next = 0;  // queries of the window, position in it
  for (size_t begin = 0; begin < queries.size();) {
    const TaskSet* set = reader.acquire();
    if (next == 0) window = memory.order.open_window(*set, queries, begin);
    const size_t taken = run_batch(*set, queries, next, window);
    deliver(next, taken, on_answer, context);
    next += taken;
    if (next == window) {
      begin += window;
      next = 0;
    }
    set->release();
  }
  return Status::ok();
}

Session::Session(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Session::~Session() = default;

Result<std::unique_ptr<Session>> Session::create(std::shared_ptr<Model> model, const SessionOptions& options) noexcept {
  if (model == nullptr) return Status::error(ErrorCode::kInvalidArgument, "a session: expected a model, found null");
  try {
    PETS_ASSIGN_OR_RETURN(const uint32_t threads, engine::check_session_options(options));
    Model::Impl& internals = model->impl();
    engine::TaskLimits limits;
    uint64_t device_tasks = 0, device_task_bytes = 0, largest_device_task = 0;
    internals.tasks.view([&](const TaskSet& set) {
      for (const auto& task : set.tasks) {
        limits.include(task->limits);
        if (internals.device == nullptr) continue;
        const uint64_t bytes = internals.device->task_bytes(task->weights);
        ++device_tasks;
        device_task_bytes += bytes;
        largest_device_task = std::max(largest_device_task, bytes);
      }
    });
    engine::EncoderCapacity capacity = engine::plan_capacity(internals.base, limits, options, threads);
    capacity.device_tasks = static_cast<uint32_t>(std::min<uint64_t>(device_tasks + kLaterTasks, UINT16_MAX));
    capacity.device_task_bytes = options.device_task_bytes != 0 ? options.device_task_bytes : device_task_bytes;
    capacity.largest_device_task = largest_device_task;
    const size_t scratch = internals.has_tokenizer ? internals.tokenizer.scratch_bytes() : 0;
    memory::Arena counting;
    engine::SessionMemory().lay_out(counting, internals.base, capacity, scratch);
    const uint64_t limit = internals.options.memory_limit;
    const uint64_t needed = internals.used_bytes() + counting.used();
    if (limit != 0 && needed > limit) {
      return Status::error(ErrorCode::kResourceExhausted,
                           "the model and this session need %" PRIu64 " bytes (%zu of them for the session), the memory limit is %" PRIu64,
                           needed, counting.used(), limit);
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
uint32_t Session::threads() const noexcept { return impl_->capacity.threads; }

}  // namespace pets
