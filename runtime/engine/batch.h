// A packed batch: all tokens of all queries one after another, without padding, rows grouped by task and cut into strips of 16.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "kernels/attention/attention.h"
#include "kernels/strip.h"
#include "runtime/engine/task_set.h"
#include "runtime/memory/arena.h"

namespace pets::engine {

/// One query's tokens. Sequences are ordered by task, those with masks last.
struct Sequence {
  uint32_t query = 0;  ///< index into the run's queries
  const Task* task = nullptr;
  uint32_t token_begin = 0;  ///< into the token buffer (input order)
  uint32_t first_row = 0;    ///< into the packed rows (task order)
  uint32_t rows = 0;         ///< packed rows: its tokens and padding, or only those that its head reads
  uint32_t first_key = 0;    ///< the first of its tokens in the packed rows of all tokens, where keys and values stay
  uint32_t tokens = 0;
  bool truncated = false;
};

/// Lanes of one strip that belong to one task.
struct RowSegment {
  const Task* task = nullptr;
  kernels::LaneMask lanes = 0;
  uint8_t lane_begin = 0, lane_end = 0;
};

/// Which task owns which rows of each strip. Layers take it as an argument of its own, so that it may differ from layer to layer.
struct RowGroups {
  const RowSegment* segments = nullptr;
  const uint32_t* strip_begin = nullptr;  ///< [strips + 1] into segments

  std::span<const RowSegment> of(uint32_t strip) const { return {segments + strip_begin[strip], segments + strip_begin[strip + 1]}; }
};

/// Which sequence owns which rows of each strip, and which rows of all tokens its keys are.
struct SequenceMap {
  const kernels::AttentionSegment* segments = nullptr;
  const uint32_t* strip_begin = nullptr;  ///< [strips + 1] into segments
};

constexpr uint32_t strip_count(uint32_t rows) { return (rows + kernels::kStripRows - 1) / kernels::kStripRows; }

/// The tables of one packed batch, in arrays of a session's arena.
class PackedBatch {
 public:
  /// Arrays for up to `tokens` rows and `queries` sequences.
  void lay_out(memory::Arena& arena, uint32_t tokens, uint32_t queries);

  void clear() { sequence_count_ = rows_ = 0; }
  /// Appends a sequence in input order, its rows and tokens known; the caller has made sure that it fits.
  void append(const Sequence& sequence);
  /// Sorts sequences by task, then by input order, assigns rows and builds the strip tables. Tasks with masks come last: strips
  /// whose rows all are masked need no dense chains, so at most one is computed both ways.
  void group();
  /// Keeps of every sequence only the rows that its head reads, from the last layer's queries on: the first one where the head pools the
  /// first token, else all. Calls move(from, to) for every row that moves, in an order in which rows can be moved in place. False where
  /// nothing is dropped.
  template <typename Move>
  bool keep_read_rows(const Move& move);

  std::span<const Sequence> sequences() const { return {sequences_, sequence_count_}; }
  uint32_t rows() const { return rows_; }
  uint32_t strips() const { return strip_count(rows_); }
  RowGroups groups() const { return {row_segments_, row_strip_begin_}; }
  SequenceMap sequence_map() const { return {sequence_segments_, sequence_strip_begin_}; }
  /// [rows]: each row's index into the token buffer.
  const uint32_t* row_tokens() const { return row_tokens_; }
  /// [rows]: each row's sequence.
  const uint32_t* row_sequences() const { return row_sequences_; }

 private:
  /// The tables of sequences as they stand.
  void build_tables();

  Sequence* sequences_ = nullptr;  // input order until group()
  Sequence* sorted_ = nullptr;
  uint64_t* keys_ = nullptr;
  uint32_t sequence_count_ = 0, rows_ = 0;
  RowSegment* row_segments_ = nullptr;
  uint32_t* row_strip_begin_ = nullptr;
  kernels::AttentionSegment* sequence_segments_ = nullptr;
  uint32_t* sequence_strip_begin_ = nullptr;
  uint32_t* row_tokens_ = nullptr;
  uint32_t* row_sequences_ = nullptr;
};

template <typename Move>
bool PackedBatch::keep_read_rows(const Move& move) {
  const auto read_rows = [](const Sequence& sequence) {
    return sequence.task->weights.head.reads_first_row() ? std::min(sequence.tokens, 1U) : sequence.tokens;
  };
  uint32_t kept = 0;
  for (const Sequence& sequence : sequences()) kept += read_rows(sequence);
  if (kept == rows_) return false;
  uint32_t row = 0;
  for (uint32_t i = 0; i < sequence_count_; ++i) {
    Sequence& sequence = sequences_[i];
    const uint32_t from = sequence.first_row;
    sequence.rows = read_rows(sequence);
    sequence.first_row = row;
    for (uint32_t r = 0; r < sequence.rows && from != row; ++r) move(from + r, row + r);
    row += sequence.rows;
  }
  rows_ = row;
  build_tables();
  return true;
}

}  // namespace pets::engine
