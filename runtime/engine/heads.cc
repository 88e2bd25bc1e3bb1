#include "runtime/engine/heads.h"

#include <algorithm>
#include <cmath>

#include "runtime/engine/linear_site.h"
#include "runtime/engine/parallel.h"

namespace pets::engine {
namespace {

using kernels::kStripRows;

bool reads_tokens(const Task& task) { return task.weights.head.reads_tokens(); }

void dense(const kernels::KernelTable& kernels, const LinearWeights& weights, kernels::Activation activation, const float* x, float* y) {
  apply_plain_linear(kernels, weights, {x, 0}, {y, 0});
  if (activation != kernels::Activation::kNone) kernels.activate(activation, y, weights.out, y);
}

/// Scales one lane of [features][16] to length 1, as torch.nn.functional.normalize (the length is at least 1e-12).
void normalize_row(float* row, uint32_t features) {
  double sum = 0;
  for (uint32_t f = 0; f < features; ++f) sum += static_cast<double>(row[f]) * static_cast<double>(row[f]);
  const double length = std::max(std::sqrt(sum), 1e-12);
  for (uint32_t f = 0; f < features; ++f) row[f] = static_cast<float>(static_cast<double>(row[f]) / length);
}

}  // namespace

size_t logit_capacity(const EncoderCapacity& capacity) {
  return static_cast<size_t>(capacity.queries) * capacity.tasks.query_outputs +
         static_cast<size_t>(capacity.tokens) * capacity.tasks.token_outputs;
}

void HeadBuffers::lay_out(memory::Arena& arena, const BaseWeights& base, const EncoderCapacity& capacity) {
  if (!capacity.device) {
    const size_t strips = strip_count(capacity.queries);
    pooled = arena.array<float>(strips * base.hidden * kStripRows);
    pooler = arena.array<float>(strips * base.hidden * kStripRows);
    segments = arena.array<PooledSegment>(strips + capacity.queries);
  }
  logits = arena.array<float>(logit_capacity(capacity));
  logit_begin = arena.array<uint32_t>(static_cast<size_t>(capacity.queries) + 1);
}

void place_logits(const PackedBatch& batch, const HeadBuffers& buffers) {
  uint32_t logits = 0, i = 0;
  for (const Sequence& sequence : batch.sequences()) {
    const HeadWeights& head = sequence.task->weights.head;
    buffers.logit_begin[i++] = logits;
    logits += head.outputs * (head.reads_tokens() ? sequence.rows : 1);
  }
  buffers.logit_begin[i] = logits;
}

void Heads::pool(const PackedBatch& batch, uint32_t strip) const {
  const auto sequences = batch.sequences();
  const size_t strip_floats = static_cast<size_t>(base_.hidden) * kStripRows;
  const uint32_t end = std::min<uint32_t>((strip + 1) * kStripRows, static_cast<uint32_t>(sequences.size()));
  for (uint32_t i = strip * kStripRows; i < end; ++i) {
    const Sequence& sequence = sequences[i];
    if (reads_tokens(*sequence.task)) continue;
    kernels::PoolRows call;
    call.x = encoder_.hidden;
    call.x_stride = strip_floats;
    call.first_row = sequence.first_row;
    call.rows = sequence.task->weights.head.pooling == schema::Pooling::kMean ? sequence.rows : 1;
    call.features = base_.hidden;
    call.out = buffers_.pooled + strip * strip_floats;
    call.out_lane = i % kStripRows;
    kernels_.pool_rows(call);
  }
}

void Heads::base_pooler(uint32_t strip) const {
  const size_t offset = static_cast<size_t>(strip) * base_.hidden * kStripRows;
  dense(kernels_, base_.pooler, kernels::Activation::kTanh, buffers_.pooled + offset, buffers_.pooler + offset);
}

const float* Heads::layers(const HeadWeights& head, const float* x, WorkerScratch& scratch) const {
  for (uint32_t i = 0; i < head.layers; ++i) {
    float* y = scratch.head[i % 2];
    dense(kernels_, head.layer[i].linear, head.layer[i].activation, x, y);
    x = y;
  }
  return x;
}

void Heads::query_logits(const PooledSegment& segment, WorkerScratch& scratch) const {
  const HeadWeights& head = segment.task->weights.head;
  const size_t offset = static_cast<size_t>(segment.strip) * base_.hidden * kStripRows;
  const float* y = layers(head, (head.pooling == schema::Pooling::kPooler ? buffers_.pooler : buffers_.pooled) + offset, scratch);
  for (uint32_t lane = segment.lane_begin; lane < segment.lane_end; ++lane) {
    float* logits = buffers_.logits + buffers_.logit_begin[segment.strip * kStripRows + lane];
    for (uint32_t c = 0; c < head.outputs; ++c) logits[c] = y[static_cast<size_t>(c) * kStripRows + lane];
    if (head.normalize) normalize_row(logits, head.outputs);
  }
}

void Heads::token_logits(const PackedBatch& batch, uint32_t strip, const RowSegment& segment, WorkerScratch& scratch) const {
  const HeadWeights& head = segment.task->weights.head;
  const float* y = layers(head, encoder_.hidden + static_cast<size_t>(strip) * base_.hidden * kStripRows, scratch);
  for (uint32_t lane = segment.lane_begin; lane < segment.lane_end; ++lane) {
    const uint32_t row = strip * kStripRows + lane;
    put_token(batch, batch.row_sequences()[row], row, y + lane);
  }
}

void Heads::shared_token_logits(const PackedBatch& batch, uint32_t index, WorkerScratch& scratch) const {
  const Sequence& sequence = batch.sequences()[index];
  const uint32_t end = sequence.first_row + sequence.rows;
  for (uint32_t row = sequence.first_row; row < end;) {
    const uint32_t strip = row / kStripRows, strip_end = std::min((strip + 1) * kStripRows, end);
    const float* y = layers(sequence.task->weights.head, encoder_.hidden + static_cast<size_t>(strip) * base_.hidden * kStripRows, scratch);
    for (; row < strip_end; ++row) put_token(batch, index, row, y + row % kStripRows);
  }
}

void Heads::put_token(const PackedBatch& batch, uint32_t index, uint32_t row, const float* y) const {
  const Sequence& sequence = batch.sequences()[index];
  const HeadWeights& head = sequence.task->weights.head;
  const bool by_output = head.type == schema::HeadType::kQuestionAnswering;
  float* logits = buffers_.logits + buffers_.logit_begin[index];
  const size_t token = row - sequence.first_row;
  for (uint32_t c = 0; c < head.outputs; ++c) {
    const size_t at = by_output ? static_cast<size_t>(c) * sequence.rows + token : token * head.outputs + c;
    logits[at] = y[static_cast<size_t>(c) * kStripRows];
  }
}

void Heads::run(const PackedBatch& batch) const {
  const auto sequences = batch.sequences();
  const auto count = static_cast<uint32_t>(sequences.size());
  place_logits(batch, buffers_);
  uint32_t segments = 0;
  bool any_pooler = false, any_tokens = false, any_shared_tokens = false;
  for (uint32_t i = 0; i < count; ++i) {
    const Task* task = sequences[i].task;
    if (reads_tokens(*task)) {
      any_tokens = true;
      any_shared_tokens |= !batch.owns_rows(i);
      continue;
    }
    any_pooler |= task->weights.head.pooling == schema::Pooling::kPooler;
    const uint32_t strip = i / kStripRows;
    const auto lane = static_cast<uint8_t>(i % kStripRows);
    if (segments == 0 || buffers_.segments[segments - 1].task != task || buffers_.segments[segments - 1].strip != strip) {
      buffers_.segments[segments++] = {task, strip, lane, lane};
    }
    buffers_.segments[segments - 1].lane_end = static_cast<uint8_t>(lane + 1);
  }

  const uint32_t pooled_strips = strip_count(count);
  const uint64_t pooler_cost = static_cast<uint64_t>(base_.hidden) * base_.hidden * kStripRows;
  parallel_items(pool_, pooled_strips, any_pooler ? pooler_cost : 0, [&](uint32_t, uint32_t strip) {
    pool(batch, strip);
    if (any_pooler) base_pooler(strip);
  });
  parallel_items(pool_, segments, pooler_cost,
                 [&](uint32_t worker, uint32_t item) { query_logits(buffers_.segments[item], encoder_.workers[worker]); });
  if (!any_tokens) return;
  parallel_items(pool_, batch.strips(), pooler_cost / 8, [&](uint32_t worker, uint32_t strip) {
    for (const RowSegment& segment : batch.groups().of(strip)) {
      if (reads_tokens(*segment.task)) token_logits(batch, strip, segment, encoder_.workers[worker]);
    }
  });
  if (!any_shared_tokens) return;
  parallel_items(pool_, count, pooler_cost / 8, [&](uint32_t worker, uint32_t i) {
    if (reads_tokens(*sequences[i].task) && !batch.owns_rows(i)) shared_token_logits(batch, i, encoder_.workers[worker]);
  });
}

}  // namespace pets::engine
