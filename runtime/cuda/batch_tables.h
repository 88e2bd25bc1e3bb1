// What kernels read of a packed batch: which row is which token and whose, and the tiles that grouped launches work on.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/attention/attention_cuda.h"
#include "kernels/cuda/task_operators.h"
#include "kernels/embedding/embedding_cuda.h"
#include "kernels/head/head_rows_cuda.h"
#include "kernels/mask/mask_cuda.h"
#include "kernels/pooling/pooling_cuda.h"
#include "runtime/engine/batch.h"
#include "runtime/memory/arena.h"
#include "runtime/tokenizer/tokenizer.h"

namespace pets::cuda {

using kernels::cuda::AttentionTile;
using kernels::cuda::HeadTile;
using kernels::cuda::LogitPlace;
using kernels::cuda::PooledRow;
using kernels::cuda::RowTile;
using kernels::cuda::TokenRow;

/// PET operators whose kernels work on tiles of one task's rows; a task is in a family's tiles where it has such an operator anywhere.
enum TileFamily : uint32_t { kLowRankTiles, kSparseTiles, kMaskTiles, kBottleneckTiles, kTileFamilies };
/// The one family of operators that works on rows without tiles.
inline constexpr uint32_t kScaledInputs = kTileFamilies;

inline constexpr uint32_t kTileRows = 16;  ///< of a tile, but for those of masks
/// Of a family's RowTiles.
constexpr uint32_t tile_rows(uint32_t family) { return family == kMaskTiles ? kernels::cuda::kMaskTileRows : kTileRows; }

/// Tiles of up to `tile_rows` rows of one of `owners` each: every owner may begin a tile and leave its last one unfilled.
constexpr uint32_t most_tiles(uint32_t rows, uint32_t owners, uint32_t tile_rows) { return std::min(rows, rows / tile_rows + owners); }

/// A batch's rows change twice at most: where tasks on one text part, each gets copies of the rows that they shared, all at the first layer
/// that one of them changes; and after the last attention only the rows that heads read go on.
enum Stage : uint32_t { kFirstStage, kForkedStage, kReadStage, kStages };

/// Rows of a batch and their tasks.
struct RowTables {
  uint16_t* slots = nullptr;  ///< [rows]
  RowTile* tiles[kTileFamilies] = {};
  uint32_t* tile_count = nullptr;  ///< [kTileFamilies]

  void lay_out(memory::Arena& arena, uint32_t rows, uint32_t queries);
};

/// What the kernels of heads read. A head row is a pooled sequence or a token that a head answers for: of a token that several heads
/// answer for, one each.
struct HeadTables {
  PooledRow* pooled = nullptr;   ///< [queries]: first those that the base's pooler takes
  HeadTile* tiles = nullptr;     ///< of all tasks
  LogitPlace* places = nullptr;  ///< [rows + queries]: of each head row
  uint32_t* count = nullptr;     ///< [2]: of pooled and of tiles

  void lay_out(memory::Arena& arena, uint32_t rows, uint32_t queries);
};

/// What the launches of heads depend on: how many blocks they have, and which are left out. Any larger bounds give the same logits, up to
/// what the session was made for (`pooler`: where the base has one), since all that a block does lies in HeadTables.
struct HeadBounds {
  uint32_t pooled = 0;  ///< pooled sequences
  uint32_t pooler = 0;  ///< those that the base's pooler takes
  uint32_t tiles = 0;
  uint32_t layers = 0;    ///< of the deepest head
  uint32_t outputs = 0;   ///< of the widest layer
  bool finished = false;  ///< whether some head has no layers or normalizes
  bool operator==(const HeadBounds&) const = default;
};

/// Filled on the host, copied to the device as one piece: laid out by the same code in both.
struct BatchTables {
  TokenRow* tokens = nullptr;  ///< [rows]
  /// By stage. The last layer's attention is the read stage's: only the queries that heads read.
  AttentionTile* attention_tiles[kStages] = {};
  uint32_t* attention_count = nullptr;  ///< [kStages]
  uint32_t* source_rows[kStages] = {};  ///< [rows]: each row's place in the stage before; the first stage has none
  RowTables rows[kStages];
  HeadTables heads;

  void lay_out(memory::Arena& arena, uint32_t rows, uint32_t queries);
};

/// A task's families of operators as bits, `1 << family`.
uint32_t operator_families(const engine::TaskWeights& task, uint32_t layers);

/// Fills `tokens` from a grouped batch.
void fill_tokens(const engine::PackedBatch& batch, const tokenizer::Token* tokens, BatchTables& tables);
/// Fills what a stage has from a batch as it is then: grouped, forked as often as it forks, or after keep_read_rows. slots, families: of
/// each sequence. sources: of each sequence, where its rows begin in the stage before; not read of the first stage.
void fill_stage(Stage stage, const engine::PackedBatch& batch, const uint16_t* slots, const uint32_t* families, const uint32_t* sources,
                BatchTables& tables);
/// Fills `tables` from a batch after keep_read_rows. logit_begin: of each sequence (engine::place_logits).
HeadBounds fill_heads(const engine::PackedBatch& batch, const uint16_t* slots, const uint32_t* logit_begin, HeadTables& tables);

}  // namespace pets::cuda
