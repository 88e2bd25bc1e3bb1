#include "runtime/engine/session_memory.h"

#include <algorithm>

#include "pets/thread_pool.h"
#include "runtime/platform/processors.h"

namespace pets::engine {

void SessionMemory::lay_out(memory::Arena& arena, const BaseWeights& base, const EncoderCapacity& capacity,
                            size_t tokenizer_scratch_bytes) {
  if (capacity.any_order) order.lay_out(arena);
  batch.lay_out(arena, capacity.tokens, capacity.queries);
  encoder.lay_out(arena, base, capacity);
  heads.lay_out(arena, base, capacity);
  token_capacity = capacity.tokens + base.positions;
  tokens = arena.array<tokenizer::Token>(token_capacity);
  tokenizer_scratch = {arena.array<std::byte>(tokenizer_scratch_bytes), tokenizer_scratch_bytes};
  query_status = arena.array<Status>(capacity.queries);
  query_sequence = arena.array<uint32_t>(capacity.queries);
  answer_tokens = arena.array<AnswerToken>(base.positions);
  scores = arena.array<float>(
      std::max<size_t>(capacity.tasks.query_outputs, static_cast<size_t>(base.positions) * capacity.tasks.token_outputs));
}

EncoderCapacity plan_capacity(const BaseWeights& base, const TaskLimits& tasks, const SessionOptions& options, uint32_t threads) {
  EncoderCapacity capacity;
  capacity.tokens = options.max_batch_tokens;
  capacity.queries = std::min(options.max_batch_queries, options.max_batch_tokens);
  capacity.threads = threads;
  capacity.any_order = options.any_order;
  capacity.tasks = tasks;
  capacity.tasks.include({64, base.hidden / 2, base.hidden, base.hidden, 16, base.positions});
  return capacity;
}

void plan_device_capacity(const DeviceTasks& tasks, const SessionOptions& options, EncoderCapacity& capacity) {
  constexpr uint64_t kLaterTasks = 16;
  capacity.device_tasks = static_cast<uint32_t>(std::min<uint64_t>(tasks.count + kLaterTasks, UINT16_MAX));
  capacity.device_task_bytes = options.device_task_bytes != 0 ? options.device_task_bytes : tasks.bytes;
  capacity.largest_device_task = tasks.largest;
  capacity.operator_streams = options.operator_streams;
  capacity.device_graphs = options.device_graphs && options.operator_streams == 0;
}

Result<uint32_t> check_session_options(const SessionOptions& options) noexcept {
  constexpr uint32_t kMaxTokens = 1U << 22, kMaxThreads = 1024, kMaxStreams = 32;
  const auto out_of_range = [](const char* name, uint32_t greatest, uint32_t found) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: expected 1 to %u, found %u", name, greatest, found);
  };
  if (options.max_batch_tokens == 0 || options.max_batch_tokens > kMaxTokens) {
    return out_of_range("max_batch_tokens", kMaxTokens, options.max_batch_tokens);
  }
  if (options.max_batch_queries == 0 || options.max_batch_queries > kMaxTokens) {
    return out_of_range("max_batch_queries", kMaxTokens, options.max_batch_queries);
  }
  if (options.operator_streams > kMaxStreams) {
    return Status::error(ErrorCode::kInvalidArgument, "operator_streams: expected 0 to %u, found %u", kMaxStreams,
                         options.operator_streams);
  }
  if (options.pool != nullptr) {
    const uint32_t threads = options.pool->threads();
    return threads >= 1 && threads <= kMaxThreads ? Result<uint32_t>(threads) : out_of_range("pool->threads()", kMaxThreads, threads);
  }
  if (options.threads > kMaxThreads) return out_of_range("threads", kMaxThreads, options.threads);
  return options.threads != 0 ? options.threads : usable_processors();
}

}  // namespace pets::engine
