// From hidden states to logits: pooling, the base's pooler, each task's own head layers.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/kernel_table.h"
#include "pets/thread_pool.h"
#include "runtime/engine/batch.h"
#include "runtime/engine/encoder.h"
#include "runtime/engine/weights.h"
#include "runtime/memory/arena.h"

namespace pets::engine {

/// Pooled rows of one task inside one strip of pooled rows (sequence i is lane i % 16 of pooled strip i / 16).
struct PooledSegment {
  const Task* task = nullptr;
  uint32_t strip = 0;
  uint8_t lane_begin = 0, lane_end = 0;
};

struct HeadBuffers {
  float* pooled = nullptr;  ///< [pooled strips][hidden][16]
  float* pooler = nullptr;  ///< the same after the base's pooler
  PooledSegment* segments = nullptr;
  float* logits = nullptr;
  uint32_t* logit_begin = nullptr;  ///< [queries + 1] by sequence

  /// Where heads run on a device, logits alone.
  void lay_out(memory::Arena& arena, const BaseWeights& base, const EncoderCapacity& capacity);
};

/// Fills buffers.logit_begin of a batch that has only the rows that heads read: a sequence's logits are [outputs], [rows][outputs] for
/// token classification, [2][rows] for question answering.
void place_logits(const PackedBatch& batch, const HeadBuffers& buffers);

/// Logits that a packed batch can hold at most under a capacity.
size_t logit_capacity(const EncoderCapacity& capacity);

class Heads {
 public:
  Heads(const kernels::KernelTable& kernels, const BaseWeights& base, const EncoderBuffers& encoder, const HeadBuffers& buffers,
        ThreadPool& pool)
      : kernels_(kernels), base_(base), encoder_(encoder), buffers_(buffers), pool_(pool) {}

  /// Fills buffers.logits and logit_begin from the encoder's hidden states.
  void run(const PackedBatch& batch) const;

 private:
  void pool(const PackedBatch& batch, uint32_t strip) const;
  void base_pooler(uint32_t strip) const;
  const float* layers(const HeadWeights& head, const float* x, WorkerScratch& scratch) const;
  void query_logits(const PooledSegment& segment, WorkerScratch& scratch) const;
  void token_logits(const PackedBatch& batch, uint32_t strip, const RowSegment& segment, WorkerScratch& scratch) const;
  /// Of a sequence whose rows are another one's.
  void shared_token_logits(const PackedBatch& batch, uint32_t index, WorkerScratch& scratch) const;
  /// `y`: the row's lane of its head's output.
  void put_token(const PackedBatch& batch, uint32_t index, uint32_t row, const float* y) const;

  const kernels::KernelTable& kernels_;
  const BaseWeights& base_;
  const EncoderBuffers& encoder_;
  const HeadBuffers& buffers_;
  ThreadPool& pool_;
};

}  // namespace pets::engine
