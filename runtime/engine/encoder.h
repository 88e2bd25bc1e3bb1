// The encoder over one packed batch: embeddings, then per layer one parallel region for attention and one for everything else.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/kernel_table.h"
#include "pets/thread_pool.h"
#include "runtime/engine/batch.h"
#include "runtime/engine/linear_site.h"
#include "runtime/engine/task_rows.h"
#include "runtime/engine/weights.h"
#include "runtime/memory/arena.h"
#include "runtime/tokenizer/tokenizer.h"

namespace pets::engine {

/// Scratch of one worker.
struct WorkerScratch {
  LinearScratch linear;
  float* bottleneck = nullptr;  ///< bottleneck_scratch_floats
  float* attention = nullptr;   ///< attention_scratch_floats, or bfloat_attention_scratch_floats
  /// [kMostBlockStrips][hidden][16]: the worker's part of `sublayer`, which nothing else uses while outputs of projections and of the
  /// feed-forward network's first linear wait to be rounded.
  float* output = nullptr;
  float* head[2] = {};  ///< [head width][16] each
};

/// What the arena is planned for.
struct EncoderCapacity {
  uint32_t tokens = 0;   ///< rows of a packed batch
  uint32_t queries = 0;  ///< sequences of a packed batch
  uint32_t threads = 1;
  bool any_order = false;  ///< of the queries of a run
  TaskLimits tasks;
  // Of a device backend:
  bool device = false;               ///< whether encoder and heads run there: the session needs no memory for them
  uint32_t device_tasks = 0;         ///< tasks that are on the device at once
  uint64_t device_task_bytes = 0;    ///< of their values
  uint64_t largest_device_task = 0;  ///< bytes of one task's values
  uint32_t device_head_inner = 0;    ///< outputs of the widest head layer but heads' last ones
  bool device_graphs = true;
  bool device_tuning = true;
  bool device_tf32 = false;
  uint32_t operator_streams = 0;
};

/// The activations of one session.
struct EncoderBuffers {
  float* hidden = nullptr;           ///< [strips][hidden][16]: the residual stream, and the encoder's result
  float* qkv = nullptr;              ///< [strips][3 hidden][16]; values in bfloat16 where attention reads those
  float* context = nullptr;          ///< [strips][hidden][16]
  float* sublayer = nullptr;         ///< [threads * kMostBlockStrips][hidden][16]: a sublayer's dense output
  float* intermediate = nullptr;     ///< [threads * kMostBlockStrips][intermediate][16]
  uint32_t* block_begin = nullptr;   ///< [strips + 1]: of cut_blocks
  WorkerScratch* workers = nullptr;  ///< [threads]

  void lay_out(memory::Arena& arena, const BaseWeights& base, const EncoderCapacity& capacity);
};

class Encoder {
 public:
  Encoder(const kernels::KernelTable& kernels, const BaseWeights& base, EncoderBuffers& buffers, ThreadPool& pool)
      : kernels_(kernels), base_(base), buffers_(buffers), pool_(pool) {}

  /// Fills buffers.hidden with the last hidden state of every row that a head reads; `batch` has only those rows afterwards. `tokens`: the
  /// token buffer that sequences point into. Where rows fork, `hidden` and `context` change places.
  void run(PackedBatch& batch, const tokenizer::Token* tokens) const;

 private:
  /// Multiply-adds of one strip, roughly: what decides how many workers a region wakes.
  uint64_t linear_cost(LinearIndex index) const;
  uint64_t layer_cost() const;
  /// Strips [strip, strip + strips); their sublayer outputs lie at `slot` of the shared buffers.
  struct Block {
    uint32_t strip = 0, strips = 0, slot = 0;
  };
  /// One of `parts` equal shares of a linear's panels.
  struct Share {
    uint32_t part = 0, parts = 1;
  };

  void embed(const PackedBatch& batch, const tokenizer::Token* tokens, uint32_t strip) const;
  /// What is computed of a layer before its attention. The last layer's queries are computed apart, for the rows that are read.
  std::span<const LinearIndex> projections(uint32_t layer) const {
    static constexpr LinearIndex kProjections[] = {kQuery, kKey, kValue};
    return std::span(kProjections).subspan(layer + 1 == base_.layers ? 1 : 0);
  }
  void project(uint32_t layer, std::span<const LinearIndex> indices, const PackedBatch& batch) const;
  void attend(const PackedBatch& batch) const;
  void attend(const PackedBatch& batch, uint32_t strip, uint32_t head, WorkerScratch& scratch) const;
  template <typename Value>
  kernels::AttentionCall<Value> attention_call(const PackedBatch& batch, uint32_t strip, uint32_t head, WorkerScratch& scratch) const;
  /// Whether there is room for the outputs of one call before they are rounded.
  bool rounds_outputs() const { return kernels_.dots.panels * kernels::kPanelColumns <= base_.hidden; }
  /// Attention with values in bfloat16, or null: beside weights that are rounded as much or more.
  const kernels::BfloatAttention* bfloat_attention() const {
    return base_.dot_products() && rounds_outputs() ? kernels_.dots.attention : nullptr;
  }
  /// Whether a block passes from the feed-forward network's first linear to its second as bfloat16 only.
  bool passes_bfloat(uint32_t layer, const RowGroups& groups, const Block& block) const {
    return base_.linear_type == kernels::WeightType::kBFloat16 && kernels_.dots.bfloat16 && rounds_outputs() &&
           base_.intermediate >= kernels::kPanelColumns &&  // or a converted strip may be larger than the floats
           passes_converted(groups, block.strip, block.strips, layer, kUp, kDown);
  }
  /// Linears of equal size that do not depend on each other, in one region: workers take blocks of strips and shares of the panels.
  void linears_by_panels(uint32_t layer, std::span<const LinearIndex> linears, const PackedBatch& batch) const;
  /// Where a layer begins: rows of their own for the sequences whose tasks change it.
  void fork(PackedBatch& batch) const;
  /// Of a strip of hidden rows, each from where it was before a fork.
  void copy_forked(const PackedBatch& batch, uint32_t strip) const;
  /// Whether a layer's projections can be computed where the layer before it ends, row by row.
  bool projects_ahead(uint32_t layer, const PackedBatch& batch) const { return layer < base_.layers && !batch.forks_at(layer); }
  /// Drops the rows that no head reads; keys and values stay where they are.
  void keep_read_rows(PackedBatch& batch) const;
  /// Few strips: workers share each linear by its panels. Many: each worker takes blocks of rows through the whole layer, so that what a
  /// block makes stays in its cache. Same chains, same bits.
  bool by_panels(const PackedBatch& batch) const { return pool_.threads() > 1 && batch.strips() <= pool_.threads() * kBlockStrips; }
  /// `same_input`: the worker's last linear was of this block, with the same input.
  void linear(uint32_t layer, LinearIndex index, const RowGroups& groups, const Block& block, Share share, WorkerScratch& scratch,
              bool same_input = false) const;
  /// Linears that have one input, whole panels.
  void linears(uint32_t layer, std::span<const LinearIndex> indices, const RowGroups& groups, const Block& block,
               WorkerScratch& scratch) const;
  /// An adapter over one task's rows: `dense` and `residual` are the block's strips, the rows of `residual` take the result.
  void bottleneck(const kernels::Bottleneck& adapter, const NormWeights& norm, const RowRange& range, bool whole_strips, const float* dense,
                  float* residual, WorkerScratch& scratch) const;
  void close_sublayer(uint32_t layer, SublayerIndex sublayer, const RowGroups& groups, const Block& block, WorkerScratch& scratch) const;
  template <typename Work>
  void by_blocks(const PackedBatch& batch, const Work& work) const;
  void finish_layer_by_rows(uint32_t layer, const PackedBatch& batch) const;
  void finish_layer_by_panels(uint32_t layer, const PackedBatch& batch) const;

  const kernels::KernelTable& kernels_;
  const BaseWeights& base_;
  EncoderBuffers& buffers_;
  ThreadPool& pool_;
};

}  // namespace pets::engine
