// What kernels read of a packed batch: which row is which token and whose, and the tiles that grouped launches work on.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/attention/attention_cuda.h"
#include "kernels/cuda/task_operators.h"
#include "kernels/embedding/embedding_cuda.h"
#include "runtime/engine/batch.h"
#include "runtime/memory/arena.h"
#include "runtime/tokenizer/tokenizer.h"

namespace pets::cuda {

using kernels::cuda::AttentionTile;
using kernels::cuda::RowTile;
using kernels::cuda::TokenRow;

/// PET operators whose kernels work on tiles of one task's rows; a task is in a family's tiles where it has such an operator anywhere.
enum TileFamily : uint32_t { kLowRankTiles, kSparseTiles, kMaskTiles, kBottleneckTiles, kTileFamilies };

inline constexpr uint32_t kTileRows = 16;  ///< of a RowTile

/// Tiles of up to `tile_rows` rows of one of `owners` each: every owner may begin a tile and leave its last one unfilled.
constexpr uint32_t most_tiles(uint32_t rows, uint32_t owners, uint32_t tile_rows) { return std::min(rows, rows / tile_rows + owners); }

/// Rows of a batch and their tasks.
struct RowTables {
  uint16_t* slots = nullptr;  ///< [rows]
  RowTile* tiles[kTileFamilies] = {};
  uint32_t* tile_count = nullptr;  ///< [kTileFamilies]

  void lay_out(memory::Arena& arena, uint32_t rows, uint32_t queries);
};

/// Filled on the host, copied to the device as one piece: laid out by the same code in both.
struct BatchTables {
  TokenRow* tokens = nullptr;  ///< [rows]
  AttentionTile* attention_tiles = nullptr;
  AttentionTile* read_attention_tiles = nullptr;  ///< of the last layer: only the queries that heads read
  uint32_t* attention_count = nullptr;            ///< [2]
  uint32_t* read_rows = nullptr;                  ///< [rows that heads read]: their place among all rows
  RowTables all, read;

  void lay_out(memory::Arena& arena, uint32_t rows, uint32_t queries);
};

/// A task's tile families as bits, `1 << family`.
uint32_t tile_families(const engine::TaskWeights& task, uint32_t layers);

/// Fills tokens, attention tiles and `all` from a grouped batch. slots, families: of each sequence.
void fill_all(const engine::PackedBatch& batch, const tokenizer::Token* tokens, const uint16_t* slots, const uint32_t* families,
              BatchTables& tables);
/// Fills read_rows, the last layer's attention tiles and `read` from a batch after keep_read_rows.
void fill_read(const engine::PackedBatch& batch, const uint16_t* slots, const uint32_t* families, BatchTables& tables);

}  // namespace pets::cuda
