#include "runtime/cuda/batch_tables.h"

#include <algorithm>

#include "runtime/cuda/shape.h"

namespace pets::cuda {
namespace {

using engine::Sequence;
using kernels::cuda::kQueryRows;

void fill_rows(const engine::PackedBatch& batch, const uint16_t* slots, const uint32_t* families, RowTables& rows) {
  const auto sequences = batch.sequences();
  std::fill_n(rows.tile_count, kTileFamilies, 0U);
  for (uint32_t s = 0; s < sequences.size();) {
    // The rows of neighbouring sequences of one task are one range; those of another sequence that some of them share are in its own.
    const uint16_t slot = slots[s];
    const uint32_t family_bits = families[s];
    uint32_t first = batch.rows(), end = 0;
    for (; s < sequences.size() && slots[s] == slot; ++s) {
      if (!batch.owns_rows(s)) continue;
      first = std::min(first, sequences[s].first_row);
      end = sequences[s].first_row + sequences[s].rows;
    }
    if (end <= first) continue;
    std::fill(rows.slots + first, rows.slots + end, slot);
    for (uint32_t family = 0; family < kTileFamilies; ++family) {
      if ((family_bits >> family & 1) == 0) continue;
      for (uint32_t row = first; row < end; row += tile_rows(family)) {
        rows.tiles[family][rows.tile_count[family]++] = {row, static_cast<uint16_t>(std::min(tile_rows(family), end - row)), slot};
      }
    }
  }
}

/// Attention of `queries` rows from the sequence's first one on.
void add_attention(const Sequence& sequence, uint16_t slot, uint32_t queries, AttentionTile* tiles, uint32_t& count) {
  for (uint32_t row = 0; row < queries; row += kQueryRows) {
    tiles[count++] = {sequence.first_key + row, sequence.first_key, static_cast<uint16_t>(std::min(kQueryRows, queries - row)),
                      static_cast<uint16_t>(sequence.tokens), slot};
  }
}

/// The pooled rows and places of logits of one sequence. `pooled`: how many there are of its kind, `row`: its first head row.
void add_head_rows(const Sequence& sequence, uint32_t logits, HeadTables& tables, uint32_t& pooled, uint32_t& row) {
  const engine::HeadWeights& head = sequence.task->weights.head;
  if (!head.reads_tokens()) {
    tables.pooled[pooled++] = {sequence.first_row, head.pooling == schema::Pooling::kMean ? sequence.rows : 1};
    tables.places[row++] = {logits, 1};
    return;
  }
  const bool by_output = head.type == schema::HeadType::kQuestionAnswering;
  for (uint32_t r = 0; r < sequence.rows; ++r) {
    tables.places[row++] = by_output ? LogitPlace{logits + r, sequence.rows} : LogitPlace{logits + r * head.outputs, 1};
  }
}

void include(const engine::HeadWeights& head, HeadBounds& bounds) {
  bounds.layers = std::max(bounds.layers, head.layers);
  for (uint32_t i = 0; i < head.layers; ++i) bounds.outputs = std::max(bounds.outputs, padded(head.layer[i].linear.out));
  bounds.finished = bounds.finished || head.layers == 0 || head.normalize;
}

}  // namespace

void RowTables::lay_out(memory::Arena& arena, uint32_t rows, uint32_t queries) {
  slots = arena.array<uint16_t>(rows);
  for (uint32_t family = 0; family < kTileFamilies; ++family) {
    tiles[family] = arena.array<RowTile>(most_tiles(rows, queries, tile_rows(family)));
  }
  tile_count = arena.array<uint32_t>(kTileFamilies);
}

void HeadTables::lay_out(memory::Arena& arena, uint32_t rows, uint32_t queries) {
  pooled = arena.array<PooledRow>(queries);
  tiles = arena.array<HeadTile>(most_tiles(rows + queries, queries, kTileRows));
  places = arena.array<LogitPlace>(size_t{rows} + queries);
  count = arena.array<uint32_t>(2);
}

void BatchTables::lay_out(memory::Arena& arena, uint32_t row_count, uint32_t queries) {
  tokens = arena.array<TokenRow>(row_count);
  attention_count = arena.array<uint32_t>(kStages);
  for (uint32_t stage = 0; stage < kStages; ++stage) {
    attention_tiles[stage] = arena.array<AttentionTile>(most_tiles(row_count, queries, kQueryRows));
    if (stage != kFirstStage) source_rows[stage] = arena.array<uint32_t>(row_count);
    rows[stage].lay_out(arena, row_count, queries);
  }
  heads.lay_out(arena, row_count, queries);
}

uint32_t operator_families(const engine::TaskWeights& task, uint32_t layers) {
  uint32_t families = 0;
  for (uint32_t n = 0; n < layers; ++n) {
    for (const engine::LinearOperators* site : task.layer[n].linear) {
      if (site == nullptr) continue;
      families |= (site->rank != 0 ? 1U << kLowRankTiles : 0) | (site->sparse_column_start != nullptr ? 1U << kSparseTiles : 0) |
                  (site->mask != nullptr ? 1U << kMaskTiles : 0) | (site->scale_input != nullptr ? 1U << kScaledInputs : 0);
    }
    for (const kernels::Bottleneck* adapter : task.layer[n].bottleneck) families |= adapter != nullptr ? 1U << kBottleneckTiles : 0;
  }
  return families;
}

void fill_tokens(const engine::PackedBatch& batch, const tokenizer::Token* tokens, BatchTables& tables) {
  for (uint32_t s = 0; s < batch.sequences().size(); ++s) {
    if (!batch.owns_rows(s)) continue;
    const Sequence& sequence = batch.sequences()[s];
    for (uint32_t r = 0; r < sequence.rows; ++r) {
      const tokenizer::Token& token = tokens[sequence.token_begin + r];
      tables.tokens[sequence.first_row + r] = {static_cast<uint32_t>(token.id), static_cast<uint16_t>(r), token.segment};
    }
  }
}

void fill_stage(Stage stage, const engine::PackedBatch& batch, const uint16_t* slots, const uint32_t* families, const uint32_t* sources,
                BatchTables& tables) {
  tables.attention_count[stage] = 0;
  for (uint32_t s = 0; s < batch.sequences().size(); ++s) {
    if (!batch.owns_rows(s)) continue;
    const Sequence& sequence = batch.sequences()[s];
    add_attention(sequence, slots[s], sequence.rows, tables.attention_tiles[stage], tables.attention_count[stage]);
    if (stage == kFirstStage) continue;
    for (uint32_t r = 0; r < sequence.rows; ++r) tables.source_rows[stage][sequence.first_row + r] = sources[s] + r;
  }
  fill_rows(batch, slots, families, tables.rows[stage]);
}

HeadBounds fill_heads(const engine::PackedBatch& batch, const uint16_t* slots, const uint32_t* logit_begin, HeadTables& tables) {
  const auto sequences = batch.sequences();
  const auto by_pooler = [](const Sequence& sequence) { return sequence.task->weights.head.pooling == schema::Pooling::kPooler; };
  HeadBounds bounds;
  bounds.pooler = static_cast<uint32_t>(std::count_if(sequences.begin(), sequences.end(), by_pooler));
  uint32_t pooler = 0, pooled = bounds.pooler, row = 0;  // of each kind, so far
  for (size_t s = 0; s < sequences.size();) {
    // The head rows of neighbouring sequences of one task are one range, and so is what they read.
    const engine::HeadWeights& head = sequences[s].task->weights.head;
    include(head, bounds);
    uint32_t& own = by_pooler(sequences[s]) ? pooler : pooled;
    const uint32_t first_input = head.reads_tokens() ? sequences[s].first_row : own, first_row = row;
    const uint16_t slot = slots[s];
    uint32_t next_row = sequences[s].first_row;  // where tokens' heads go on: shared rows may lie elsewhere
    for (; s < sequences.size() && slots[s] == slot && (!head.reads_tokens() || sequences[s].first_row == next_row); ++s) {
      add_head_rows(sequences[s], logit_begin[s], tables, own, row);
      next_row += sequences[s].rows;
    }
    for (uint32_t tile = first_row; tile < row; tile += kTileRows) {
      const auto rows = static_cast<uint16_t>(std::min(kTileRows, row - tile));
      tables.tiles[bounds.tiles++] = {{first_input + (tile - first_row), rows, slot}, tile};
    }
  }
  bounds.pooled = pooled;
  tables.count[0] = pooled;
  tables.count[1] = bounds.tiles;
  return bounds;
}

}  // namespace pets::cuda
