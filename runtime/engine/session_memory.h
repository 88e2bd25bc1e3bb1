// Everything a session touches while it runs, laid out in its arena: the planner counts with the same code.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "pets/types.h"
#include "runtime/engine/batch.h"
#include "runtime/engine/encoder.h"
#include "runtime/engine/heads.h"
#include "runtime/engine/run_order.h"
#include "runtime/tokenizer/tokenizer.h"

namespace pets::engine {

struct SessionMemory {
  RunOrder order;
  PackedBatch batch;
  EncoderBuffers encoder;  ///< empty where it runs on a device
  HeadBuffers heads;
  tokenizer::Token* tokens = nullptr;  ///< [token_capacity]: tokens of the batch in input order, same ones once, and room for one query
  uint32_t token_capacity = 0;
  std::span<std::byte> tokenizer_scratch;
  Status* query_status = nullptr;        ///< [queries]
  uint32_t* query_sequence = nullptr;    ///< [queries]: where a good query went, before and after grouping
  AnswerToken* answer_tokens = nullptr;  ///< [positions]: of the answer being delivered
  float* scores = nullptr;               ///< of the answer being delivered

  void lay_out(memory::Arena& arena, const BaseWeights& base, const EncoderCapacity& capacity, size_t tokenizer_scratch_bytes);
};

/// Capacity for the tasks at hand, with room for usual tasks that are added later: rank 64, a bottleneck of half the hidden size, 16
/// labels a token, hidden labels a query.
EncoderCapacity plan_capacity(const BaseWeights& base, const TaskLimits& tasks, const SessionOptions& options, uint32_t threads);

/// What the tasks at hand take on a device.
struct DeviceTasks {
  uint64_t count = 0, bytes = 0, largest = 0;
  uint32_t head_inner = 0;  ///< outputs of the widest head layer but heads' last ones
  /// `task_bytes`: DeviceLayout's.
  void include(uint64_t task_bytes, const TaskWeights& task) {
    ++count;
    bytes += task_bytes;
    largest = std::max(largest, task_bytes);
    head_inner = std::max(head_inner, task.head.inner_width());
  }
};
/// Completes a capacity for a device, with slots for some tasks that are added later and room for the values of one.
void plan_device_capacity(const BaseWeights& base, const DeviceTasks& tasks, const SessionOptions& options, EncoderCapacity& capacity);

/// Options checked; the number of workers that a session with them has.
Result<uint32_t> check_session_options(const SessionOptions& options) noexcept;

}  // namespace pets::engine
