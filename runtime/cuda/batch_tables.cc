#include "runtime/cuda/batch_tables.h"

#include <algorithm>

namespace pets::cuda {
namespace {

using engine::Sequence;
using kernels::cuda::kQueryRows;

void fill_rows(std::span<const Sequence> sequences, const uint16_t* slots, const uint32_t* families, RowTables& rows) {
  std::fill_n(rows.tile_count, kTileFamilies, 0U);
  for (size_t s = 0; s < sequences.size();) {
    // The rows of neighbouring sequences of one task are one range.
    const uint32_t first = sequences[s].first_row;
    const uint16_t slot = slots[s];
    const uint32_t family_bits = families[s];
    uint32_t end = first;
    for (; s < sequences.size() && slots[s] == slot; ++s) end = sequences[s].first_row + sequences[s].rows;
    std::fill(rows.slots + first, rows.slots + end, slot);
    for (uint32_t family = 0; family < kTileFamilies; ++family) {
      if ((family_bits >> family & 1) == 0) continue;
      for (uint32_t row = first; row < end; row += kTileRows) {
        rows.tiles[family][rows.tile_count[family]++] = {row, static_cast<uint16_t>(std::min(kTileRows, end - row)), slot};
      }
    }
  }
}

/// Attention of `queries` rows from the sequence's first one on.
void add_attention(const Sequence& sequence, uint32_t queries, AttentionTile* tiles, uint32_t& count) {
  for (uint32_t row = 0; row < queries; row += kQueryRows) {
    tiles[count++] = {sequence.first_key + row, std::min(kQueryRows, queries - row), sequence.first_key, sequence.tokens};
  }
}

}  // namespace

void RowTables::lay_out(memory::Arena& arena, uint32_t rows, uint32_t queries) {
  slots = arena.array<uint16_t>(rows);
  for (RowTile*& family : tiles) family = arena.array<RowTile>(most_tiles(rows, queries, kTileRows));
  tile_count = arena.array<uint32_t>(kTileFamilies);
}

void BatchTables::lay_out(memory::Arena& arena, uint32_t rows, uint32_t queries) {
  tokens = arena.array<TokenRow>(rows);
  attention_tiles = arena.array<AttentionTile>(most_tiles(rows, queries, kQueryRows));
  read_attention_tiles = arena.array<AttentionTile>(most_tiles(rows, queries, kQueryRows));
  attention_count = arena.array<uint32_t>(2);
  read_rows = arena.array<uint32_t>(rows);
  all.lay_out(arena, rows, queries);
  read.lay_out(arena, rows, queries);
}

uint32_t tile_families(const engine::TaskWeights& task, uint32_t layers) {
  uint32_t families = 0;
  for (uint32_t n = 0; n < layers; ++n) {
    for (const engine::LinearOperators* site : task.layer[n].linear) {
      if (site == nullptr) continue;
      families |= (site->rank != 0 ? 1U << kLowRankTiles : 0) | (site->sparse_column_start != nullptr ? 1U << kSparseTiles : 0) |
                  (site->mask != nullptr ? 1U << kMaskTiles : 0);
    }
    for (const kernels::Bottleneck* adapter : task.layer[n].bottleneck) families |= adapter != nullptr ? 1U << kBottleneckTiles : 0;
  }
  return families;
}

void fill_all(const engine::PackedBatch& batch, const tokenizer::Token* tokens, const uint16_t* slots, const uint32_t* families,
              BatchTables& tables) {
  tables.attention_count[0] = 0;
  for (const Sequence& sequence : batch.sequences()) {
    for (uint32_t r = 0; r < sequence.rows; ++r) {
      const tokenizer::Token& token = tokens[sequence.token_begin + r];
      tables.tokens[sequence.first_row + r] = {static_cast<uint32_t>(token.id), static_cast<uint16_t>(r), token.segment};
    }
    add_attention(sequence, sequence.rows, tables.attention_tiles, tables.attention_count[0]);
  }
  fill_rows(batch.sequences(), slots, families, tables.all);
}

void fill_read(const engine::PackedBatch& batch, const uint16_t* slots, const uint32_t* families, BatchTables& tables) {
  tables.attention_count[1] = 0;
  for (const Sequence& sequence : batch.sequences()) {
    for (uint32_t r = 0; r < sequence.rows; ++r) tables.read_rows[sequence.first_row + r] = sequence.first_key + r;
    add_attention(sequence, sequence.rows, tables.read_attention_tiles, tables.attention_count[1]);
  }
  fill_rows(batch.sequences(), slots, families, tables.read);
}

}  // namespace pets::cuda
