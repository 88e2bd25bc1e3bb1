#include "runtime/engine/encoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <new>
#include <utility>

#include "kernels/bottleneck/bottleneck.h"
#include "kernels/gemm/panel_layout.h"
#include "runtime/engine/parallel.h"
#include "runtime/engine/row_blocks.h"

namespace pets::engine {
namespace {

using kernels::kStripRows;

/// What a norm or an embedding sum costs a value, in multiply-adds.
constexpr uint64_t kElementCost = 16;

/// Collects the norm parameters of a strip's segments; neighbours with the same parameters become one.
struct NormSegments {
  kernels::NormSegment items[kStripRows];
  uint32_t count = 0;

  void add(kernels::LaneMask lanes, const NormWeights& norm) {
    if (count != 0 && items[count - 1].gamma == norm.gamma && items[count - 1].beta == norm.beta) {
      items[count - 1].lanes = static_cast<kernels::LaneMask>(items[count - 1].lanes | lanes);
    } else {
      items[count++] = {lanes, norm.gamma, norm.beta};
    }
  }
};

/// The task's own row of an embedding table, or the base's.
const float* embedding_row(const ReplacedRows& replaced, const float* table, uint32_t row, uint32_t hidden) {
  if (replaced.count != 0) {
    const uint32_t* end = replaced.rows + replaced.count;
    const uint32_t* found = std::lower_bound(replaced.rows, end, row);
    if (found != end && *found == row) return replaced.values + static_cast<size_t>(found - replaced.rows) * hidden;
  }
  return table + static_cast<size_t>(row) * hidden;
}

}  // namespace

void EncoderBuffers::lay_out(memory::Arena& arena, const BaseWeights& base, const EncoderCapacity& capacity) {
  const size_t strip = static_cast<size_t>(base.hidden) * kStripRows;
  const size_t strips = strip_count(capacity.tokens);
  const size_t slots = static_cast<size_t>(capacity.threads) * kMostBlockStrips;
  const size_t widest = std::max(base.hidden, base.intermediate);
  hidden = arena.array<float>(strips * strip);
  qkv = arena.array<float>(strips * 3 * strip);
  context = arena.array<float>(strips * strip);
  sublayer = arena.array<float>(slots * strip);
  intermediate = arena.array<float>(slots * base.intermediate * kStripRows);
  block_begin = arena.array<uint32_t>(strips + 1);
  workers = arena.array<WorkerScratch>(capacity.threads);
  for (uint32_t t = 0; t < capacity.threads; ++t) {
    WorkerScratch scratch;
    scratch.linear.scaled_stride = widest * kStripRows;
    scratch.linear.scaled_input = arena.array<float>(kMostBlockStrips * scratch.linear.scaled_stride);
    scratch.linear.low_rank_stride = static_cast<size_t>(capacity.tasks.rank) * kStripRows;
    scratch.linear.low_rank = arena.array<float>(kMostBlockStrips * scratch.linear.low_rank_stride);
    scratch.linear.low_rank_temporary = arena.array<float>(kMostBlockStrips * scratch.linear.low_rank_stride);
    scratch.linear.own_stride = widest * kStripRows;
    if (base.dot_products()) {
      // Planned by the base alone: bfloat16 weights need none of it where the instruction set has no dot products for them.
      scratch.linear.converted.stride = kernels::converted_strip_bytes(base.linear_type, widest);
      scratch.linear.converted.bytes = arena.array<std::byte>(kMostBlockStrips * scratch.linear.converted.stride);
      scratch.linear.converted.row_scale = arena.array<float>(static_cast<size_t>(kMostBlockStrips + 1) * kStripRows);
      scratch.linear.converted.source = arena.array<const float*>(kMostBlockStrips);
      scratch.linear.own_stride = std::max(scratch.linear.own_stride, scratch.linear.converted.stride / sizeof(float));
    }
    scratch.linear.own_input = arena.array<float>(kMostBlockStrips * scratch.linear.own_stride);
    scratch.bottleneck = arena.array<float>(kernels::bottleneck_scratch_floats(base.hidden, capacity.tasks.inner));
    const size_t longest = std::min(capacity.tokens, base.positions);
    scratch.attention = arena.array<float>(base.dot_products() ? kernels::bfloat_attention_scratch_floats(longest, base.head_size)
                                                               : kernels::attention_scratch_floats(longest));
    if (sublayer != nullptr) scratch.output = sublayer + static_cast<size_t>(t) * kMostBlockStrips * strip;
    scratch.head[0] = arena.array<float>(static_cast<size_t>(capacity.tasks.head_width) * kStripRows);
    scratch.head[1] = arena.array<float>(static_cast<size_t>(capacity.tasks.head_width) * kStripRows);
    if (workers != nullptr) ::new (&workers[t]) WorkerScratch(scratch);
  }
}

uint64_t Encoder::linear_cost(LinearIndex index) const {
  const LinearWeights& weights = base_.layer[0].linear[index];
  return static_cast<uint64_t>(weights.out) * weights.in * kStripRows;
}

uint64_t Encoder::layer_cost() const {
  uint64_t cost = 0;
  for (const LinearIndex index : {kQuery, kKey, kValue, kAttentionOutput, kUp, kDown}) cost += linear_cost(index);
  return cost;
}

void Encoder::embed(const PackedBatch& batch, const tokenizer::Token* tokens, uint32_t strip) const {
  const float* word[kStripRows] = {};
  const float* position[kStripRows] = {};
  const float* token_type[kStripRows] = {};
  const auto* const words = static_cast<const float*>(base_.word);  // float32 on the CPU: repack.h
  const auto* const positions = static_cast<const float*>(base_.position);
  const auto* const token_types = static_cast<const float*>(base_.token_type);
  const SequenceMap sequences = batch.sequence_map();
  for (uint32_t s = sequences.strip_begin[strip]; s < sequences.strip_begin[strip + 1]; ++s) {
    const kernels::AttentionSegment& segment = sequences.segments[s];
    for (uint32_t lane = segment.lane_begin; lane < segment.lane_end; ++lane) {
      position[lane] = positions + static_cast<size_t>(strip * kStripRows + lane - segment.first_row) * base_.hidden;
    }
  }
  NormSegments norms;
  for (const RowSegment& group : batch.groups().of(strip)) {
    const TaskWeights& task = group.task->weights;
    norms.add(group.lanes, task.embeddings_norm.gamma != nullptr ? task.embeddings_norm : base_.embeddings_norm);
    for (uint32_t lane = group.lane_begin; lane < group.lane_end; ++lane) {
      const tokenizer::Token& token = tokens[batch.row_tokens()[strip * kStripRows + lane]];
      word[lane] = embedding_row(task.embedding[0], words, static_cast<uint32_t>(token.id), base_.hidden);
      token_type[lane] = embedding_row(task.embedding[2], token_types, token.segment, base_.hidden);
      if (task.embedding[1].count != 0) {
        const auto row = static_cast<uint32_t>(static_cast<size_t>(position[lane] - positions) / base_.hidden);
        position[lane] = embedding_row(task.embedding[1], positions, row, base_.hidden);
      }
    }
  }
  float* hidden = buffers_.hidden + static_cast<size_t>(strip) * base_.hidden * kStripRows;
  kernels_.embedding_strip({word, token_type, position, base_.hidden, hidden});
  kernels_.layer_norm({hidden, nullptr, base_.hidden, base_.norm_epsilon, norms.items, norms.count, hidden});
}

template <typename Value>
kernels::AttentionCall<Value> Encoder::attention_call(const PackedBatch& batch, uint32_t strip, uint32_t head,
                                                      WorkerScratch& scratch) const {
  const size_t hidden_strip = static_cast<size_t>(base_.hidden) * kStripRows;
  const size_t head_strip = static_cast<size_t>(base_.head_size) * kStripRows;
  const SequenceMap sequences = batch.sequence_map();
  kernels::AttentionCall<Value> call;
  call.q = buffers_.qkv + strip * 3 * hidden_strip + head * head_strip;
  call.k = buffers_.qkv + hidden_strip + head * head_strip;
  call.v = reinterpret_cast<const Value*>(buffers_.qkv + 2 * hidden_strip) + head * head_strip;
  call.k_stride = 3 * hidden_strip;
  call.v_stride = 3 * hidden_strip * sizeof(float) / sizeof(Value);
  call.head_size = base_.head_size;
  call.scale = 1.0F / std::sqrt(static_cast<float>(base_.head_size));
  call.segments = sequences.segments + sequences.strip_begin[strip];
  call.segment_count = sequences.strip_begin[strip + 1] - sequences.strip_begin[strip];
  call.out = buffers_.context + strip * hidden_strip + head * head_strip;
  call.scratch = scratch.attention;
  call.next = head_strip;
  return call;
}

void Encoder::attend(const PackedBatch& batch, uint32_t strip, uint32_t head, WorkerScratch& scratch) const {
  if (const kernels::BfloatAttention* attention = bfloat_attention()) {
    attention->strip(attention_call<uint16_t>(batch, strip, head, scratch));
  } else {
    kernels_.attention_strip(attention_call<float>(batch, strip, head, scratch));
  }
}

void Encoder::linear(uint32_t layer, LinearIndex index, const RowGroups& groups, const Block& block, Share share, WorkerScratch& scratch,
                     bool same_input) const {
  const size_t hidden_strip = static_cast<size_t>(base_.hidden) * kStripRows;
  const size_t intermediate_strip = static_cast<size_t>(base_.intermediate) * kStripRows;
  LinearSite site;
  RoundedOutput rounded;
  ConvertedStrips between;  // the feed-forward network's two linears
  if (share.parts == 1 && (index == kUp || index == kDown) && passes_bfloat(layer, groups, block)) {
    // In place of the floats, of which they need half of the room.
    between.stride = kernels::converted_strip_bytes(base_.linear_type, base_.intermediate);
    between.bytes = reinterpret_cast<std::byte*>(buffers_.intermediate + block.slot * intermediate_strip);
    between.row_scale = scratch.linear.converted.row_scale;
  }
  site.weights = &base_.layer[layer].linear[index];
  site.layer = layer;
  site.index = index;
  site.x_stride = site.y_stride = hidden_strip;
  switch (index) {
    case kAttentionOutput:
      site.x = buffers_.context + block.strip * hidden_strip;
      site.y = buffers_.sublayer + block.slot * hidden_strip;
      break;
    case kUp:
      site.x = buffers_.hidden + block.strip * hidden_strip;
      site.activation = base_.activation;
      if (between.bytes != nullptr) {
        rounded = {between.bytes, between.stride};
        break;
      }
      site.y = buffers_.intermediate + block.slot * intermediate_strip;
      site.y_stride = intermediate_strip;
      break;
    case kDown:
      site.x = buffers_.intermediate + block.slot * intermediate_strip;
      site.x_stride = intermediate_strip;
      if (between.bytes != nullptr) site.converted_x = &between;
      site.y = buffers_.sublayer + block.slot * hidden_strip;
      break;
    default:  // query, key, value
      site.x = buffers_.hidden + block.strip * hidden_strip;
      site.y = buffers_.qkv + (block.strip * 3 + index) * hidden_strip;
      site.y_stride = 3 * hidden_strip;
      if (const kernels::BfloatAttention* attention = bfloat_attention(); attention != nullptr && index == kValue) {
        rounded = {reinterpret_cast<std::byte*>(site.y), site.y_stride * sizeof(float), attention->round_values};
        site.y_stride = hidden_strip;
      }
      break;
  }
  if (rounded.bytes != nullptr) {
    site.rounded_y = &rounded;
    site.y = scratch.output;
  }
  const auto panels = static_cast<uint32_t>(kernels::panel_count(site.weights->out));
  const uint32_t begin = panels * share.part / share.parts, end = panels * (share.part + 1) / share.parts;
  if (begin == end) return;
  const LinearIndex next = index == kDown ? kQuery : static_cast<LinearIndex>((index + 1) % kLinearSites);
  if (const uint32_t next_layer = layer + (index == kDown ? 1 : 0); next_layer < base_.layers) {
    const LinearWeights& weights = base_.layer[next_layer].linear[next];
    site.then = weights.panel(kernels::panel_count(weights.out) * share.part / share.parts).panel;
  }
  site.same_input = same_input;
  apply_linear(kernels_, site, groups, block.strip, block.strips, begin, end, scratch.linear);
}

void Encoder::linears(uint32_t layer, std::span<const LinearIndex> indices, const RowGroups& groups, const Block& block,
                      WorkerScratch& scratch) const {
  for (const LinearIndex& index : indices) linear(layer, index, groups, block, {}, scratch, &index != indices.data());
}

void Encoder::bottleneck(const kernels::Bottleneck& adapter, const NormWeights& norm, const RowRange& range, bool whole_strips,
                         const float* dense, float* residual, WorkerScratch& scratch) const {
  const size_t strip_floats = static_cast<size_t>(base_.hidden) * kStripRows;
  const kernels::NormParameters parameters{norm.gamma, norm.beta, base_.norm_epsilon};
  constexpr uint32_t kMostRows = kernels::kBottleneckStrips * kStripRows;
  static_assert(2 * kernels::kBottleneckStrips <= kMostBlockStrips);  // both inputs go into the scratch of a block's widest input
  float* const own_dense = scratch.linear.own_input;
  float* const own_residual = own_dense + kernels::kBottleneckStrips * strip_floats;
  for (uint32_t done = 0; done < range.rows; done += kMostRows) {
    const RowRange part{range.first + done, std::min(range.rows - done, kMostRows)};
    const float* h = dense + part.first_strip() * strip_floats;
    float* r = residual + part.first_strip() * strip_floats;
    if (!whole_strips) {
      gather_rows(kernels_, part, base_.hidden, dense, strip_floats, own_dense, strip_floats);
      gather_rows(kernels_, part, base_.hidden, residual, strip_floats, own_residual, strip_floats);
      h = own_dense;
      r = own_residual;
    }
    kernels::apply_bottleneck(kernels_, adapter, parameters, base_.hidden, part.rows, h, r, scratch.bottleneck, r);
    if (!whole_strips) scatter_rows(kernels_, part, base_.hidden, own_residual, strip_floats, residual, strip_floats);
  }
}

void Encoder::close_sublayer(uint32_t layer, SublayerIndex sublayer, const RowGroups& groups, const Block& block,
                             WorkerScratch& scratch) const {
  const size_t strip_floats = static_cast<size_t>(base_.hidden) * kStripRows;
  const NormWeights& base_norm = base_.layer[layer].norm[sublayer];
  float* const residual = buffers_.hidden + block.strip * strip_floats;
  const float* const dense = buffers_.sublayer + block.slot * strip_floats;
  const auto norm_of = [&](const Task& task) -> const NormWeights& {
    const NormWeights* own = task.weights.layer[layer].norm[sublayer];
    return own != nullptr ? *own : base_norm;
  };
  // Each writes its own rows of the residual only; the others' are still untouched or already final.
  each_task(groups, block.strip, block.strips, [&](const Task& task, const RowRange& range) {
    const kernels::Bottleneck* adapter = task.weights.layer[layer].bottleneck[sublayer];
    if (adapter == nullptr) return;
    const bool whole_strips = range.first % kStripRows == 0 && groups.of(block.strip + range.end_strip() - 1).size() == 1;
    bottleneck(*adapter, norm_of(task), range, whole_strips, dense, residual, scratch);
  });
  for (uint32_t s = 0; s < block.strips; ++s) {
    NormSegments norms;
    for (const RowSegment& group : groups.of(block.strip + s)) {
      if (group.task->weights.layer[layer].bottleneck[sublayer] == nullptr) norms.add(group.lanes, norm_of(*group.task));
    }
    float* const rows = residual + s * strip_floats;
    if (norms.count != 0) {
      kernels_.layer_norm({dense + s * strip_floats, rows, base_.hidden, base_.norm_epsilon, norms.items, norms.count, rows});
    }
  }
}

template <typename Work>
void Encoder::by_blocks(const PackedBatch& batch, const Work& work) const {
  const uint32_t strips = batch.strips();
  uint32_t* const begin = buffers_.block_begin;
  const uint32_t blocks = cut_blocks(batch.groups(), strips, pool_.threads(), begin);
  parallel_items(pool_, blocks, layer_cost() * strips / blocks, [&](uint32_t worker, uint32_t item) {
    work(Block{begin[item], begin[item + 1] - begin[item], worker * kMostBlockStrips}, buffers_.workers[worker]);
  });
}

void Encoder::linears_by_panels(uint32_t layer, std::span<const LinearIndex> linears, const PackedBatch& batch) const {
  const uint32_t strips = batch.strips();
  const uint32_t blocks = (strips + kBlockStrips - 1) / kBlockStrips;
  const auto count = static_cast<uint32_t>(linears.size());
  const uint32_t parts = std::max(1U, (2 * pool_.threads() + count * blocks - 1) / (count * blocks));  // about two items a worker
  const RowGroups groups = batch.groups();
  const uint64_t cost = linear_cost(linears[0]) * strips / (static_cast<uint64_t>(blocks) * parts);
  parallel_items(pool_, count * blocks * parts, cost, [&](uint32_t worker, uint32_t item) {
    const uint32_t begin = item / parts % blocks * kBlockStrips;
    const Block block{begin, std::min(kBlockStrips, strips - begin), begin};
    linear(layer, linears[item / parts / blocks], groups, block, {item % parts, parts}, buffers_.workers[worker]);
  });
}

void Encoder::finish_layer_by_rows(uint32_t layer, const PackedBatch& batch) const {
  const RowGroups groups = batch.groups();
  by_blocks(batch, [&](const Block& block, WorkerScratch& scratch) {
    linear(layer, kAttentionOutput, groups, block, {}, scratch);
    close_sublayer(layer, kAttentionSublayer, groups, block, scratch);
    linear(layer, kUp, groups, block, {}, scratch);
    linear(layer, kDown, groups, block, {}, scratch);
    close_sublayer(layer, kFfnSublayer, groups, block, scratch);
    if (projects_ahead(layer + 1, batch)) linears(layer + 1, projections(layer + 1), groups, block, scratch);
  });
}

void Encoder::finish_layer_by_panels(uint32_t layer, const PackedBatch& batch) const {
  const auto close = [&](SublayerIndex sublayer) {
    parallel_items(pool_, batch.strips(), kElementCost * base_.hidden * kStripRows, [&](uint32_t worker, uint32_t strip) {
      close_sublayer(layer, sublayer, batch.groups(), {strip, 1, strip}, buffers_.workers[worker]);
    });
  };
  linears_by_panels(layer, std::array{kAttentionOutput}, batch);
  close(kAttentionSublayer);
  linears_by_panels(layer, std::array{kUp}, batch);
  linears_by_panels(layer, std::array{kDown}, batch);
  close(kFfnSublayer);
  if (projects_ahead(layer + 1, batch)) linears_by_panels(layer + 1, projections(layer + 1), batch);
}

void Encoder::copy_forked(const PackedBatch& batch, uint32_t strip) const {
  const size_t strip_floats = static_cast<size_t>(base_.hidden) * kStripRows;
  const uint32_t begin = strip * kStripRows, end = std::min(begin + kStripRows, batch.rows());
  for (uint32_t row = begin, next = 0; row < end; row = next) {
    const Sequence& sequence = batch.sequences()[batch.row_sequences()[row]];
    next = std::min(sequence.first_row + sequence.rows, end);
    const uint32_t lane = row - begin, from = sequence.source_row + (row - sequence.first_row), last = from + (next - row) - 1;
    // The source of lane 0, were it copied too, is row `zero` - 16: of the strip before the first one where that is negative.
    const uint32_t zero = from + kStripRows - lane;
    const auto source = [&](uint32_t index) {  // strips count from 1
      const bool read = from / kStripRows + 1 <= index && index <= last / kStripRows + 1;
      return read ? buffers_.hidden + (index - 1) * strip_floats : nullptr;
    };
    kernels_.shift_rows(source(zero / kStripRows), source(zero / kStripRows + 1), zero % kStripRows, base_.hidden,
                        kernels::lane_range(lane, next - begin), buffers_.context + strip * strip_floats);
  }
}

void Encoder::fork(PackedBatch& batch) const {
  batch.fork();
  parallel_items(pool_, batch.strips(), kElementCost * base_.hidden * kStripRows,
                 [&](uint32_t, uint32_t strip) { copy_forked(batch, strip); });
  std::swap(buffers_.hidden, buffers_.context);
}

void Encoder::keep_read_rows(PackedBatch& batch) const {
  const size_t strip_floats = static_cast<size_t>(base_.hidden) * kStripRows;
  batch.keep_read_rows([&](uint32_t from, uint32_t to) {
    const float* x = buffers_.hidden + from / kStripRows * strip_floats + from % kStripRows;
    float* y = buffers_.hidden + to / kStripRows * strip_floats + to % kStripRows;
    for (size_t f = 0; f < strip_floats; f += kStripRows) y[f] = x[f];
  });
}

void Encoder::project(uint32_t layer, std::span<const LinearIndex> indices, const PackedBatch& batch) const {
  if (by_panels(batch)) return linears_by_panels(layer, indices, batch);
  const RowGroups groups = batch.groups();
  by_blocks(batch, [&](const Block& block, WorkerScratch& scratch) { linears(layer, indices, groups, block, scratch); });
}

void Encoder::attend(const PackedBatch& batch) const {
  if (!by_panels(batch)) {
    by_blocks(batch, [&](const Block& block, WorkerScratch& scratch) {
      for (uint32_t strip = block.strip; strip < block.strip + block.strips; ++strip) {
        for (uint32_t head = 0; head < base_.heads; ++head) attend(batch, strip, head, scratch);
      }
    });
    return;
  }
  uint64_t keys = 0;
  for (uint32_t i = 0; i < batch.sequences().size(); ++i) {
    const Sequence& sequence = batch.sequences()[i];
    if (batch.owns_rows(i)) keys += static_cast<uint64_t>(sequence.rows) * sequence.tokens;
  }
  const uint32_t heads = batch.strips() * base_.heads;
  parallel_items(pool_, heads, 2 * keys * base_.hidden / heads,
                 [&](uint32_t worker, uint32_t item) { attend(batch, item / base_.heads, item % base_.heads, buffers_.workers[worker]); });
}

void Encoder::run(PackedBatch& batch, const tokenizer::Token* tokens) const {
  parallel_items(pool_, batch.strips(), kElementCost * base_.hidden * kStripRows,
                 [&](uint32_t, uint32_t strip) { embed(batch, tokens, strip); });
  project(0, projections(0), batch);
  for (uint32_t layer = 0; layer < base_.layers; ++layer) {
    if (batch.forks_at(layer)) {
      fork(batch);
      project(layer, projections(layer), batch);
    }
    if (layer + 1 == base_.layers) {
      keep_read_rows(batch);
      project(layer, std::array{kQuery}, batch);
    }
    attend(batch);
    by_panels(batch) ? finish_layer_by_panels(layer, batch) : finish_layer_by_rows(layer, batch);
  }
}

}  // namespace pets::engine
