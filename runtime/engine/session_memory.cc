#include "runtime/engine/session_memory.h"

#include <algorithm>

#include "pets/thread_pool.h"
#include "runtime/platform/processors.h"

namespace pets::engine {

void SessionMemory::lay_out(memory::Arena& arena, const BaseWeights& base, const EncoderCapacity& capacity,
                            size_t tokenizer_scratch_bytes) {
  if (capacity.any_order) order.lay_out(arena);
  batch.lay_out(arena, capacity.tokens, capacity.queries);
  if (!capacity.device) encoder.lay_out(arena, base, capacity);
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

namespace {

/// What a task that is added later may take on a device: adapters of 64 after both sublayers, the largest of the usual PETs, and a head
/// with a hidden layer, in floats; half as much again for biases, norms and the beginnings of arrays.
uint64_t later_task_bytes(const BaseWeights& base) {
  constexpr uint64_t kBottleneck = 64;
  const uint64_t adapters = uint64_t{base.layers} * kSublayers * 2 * kBottleneck * base.hidden;
  const uint64_t head = uint64_t{base.hidden} * base.hidden;
  return (adapters + head) * sizeof(float) * 3 / 2;
}

}  // namespace

void plan_device_capacity(const BaseWeights& base, const DeviceTasks& tasks, const SessionOptions& options, EncoderCapacity& capacity) {
  constexpr uint64_t kLaterTasks = 16;
  capacity.device = true;
  capacity.device_head_inner = std::max(base.hidden, tasks.head_inner);
  capacity.device_tasks = static_cast<uint32_t>(std::min<uint64_t>(tasks.count + kLaterTasks, UINT16_MAX));
  const uint64_t later = later_task_bytes(base);
  capacity.device_task_bytes = options.device_task_bytes != 0 ? options.device_task_bytes : tasks.bytes + later;
  capacity.largest_device_task = std::max(tasks.largest, later);
  capacity.operator_streams = options.operator_streams;
  capacity.device_tf32 = options.device_tf32;
  capacity.device_graphs = options.device_graphs && options.operator_streams == 0;
  capacity.device_tuning = options.device_tuning;
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
