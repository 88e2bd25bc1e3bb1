// A packed batch: all tokens of all queries one after another, without padding, rows grouped by task and cut into strips of 16.
//
// Sequences that have the same tokens are a *group*. As long as their tasks change nothing they share rows: those of the member that
// changes something last, which need not move when others do. At the first layer that a member's task changes, the member gets rows of its
// own, copies of the shared ones (it *forks*); a member whose task changes the head alone reads the shared rows to the end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "kernels/attention/attention.h"
#include "kernels/strip.h"
#include "runtime/engine/strip_order.h"
#include "runtime/engine/task_set.h"
#include "runtime/memory/arena.h"

namespace pets::engine {

/// One query's tokens. Sequences of a task lie together, tasks with masks last, otherwise as strips are filled best (strip_order.h).
struct Sequence {
  static constexpr uint32_t kItself = UINT32_MAX;

  uint32_t query = 0;  ///< index into the run's queries
  const Task* task = nullptr;
  uint32_t token_begin = 0;  ///< into the token buffer (input order)
  uint32_t first_row = 0;    ///< into the packed rows (task order)
  uint32_t rows = 0;         ///< packed rows: its tokens and padding, or only those that its head reads
  uint32_t first_key = 0;    ///< the first of its tokens in the packed rows of all tokens, where keys and values stay
  uint32_t tokens = 0;
  bool truncated = false;
  /// The first sequence of its group, by input order: one that was appended before with the same tokens and as many rows.
  uint32_t leader = kItself;
  /// Of a leader: whether a member of its group forks nowhere.
  bool never_forks = false;
  /// The sequence whose rows it has, by the order of sequences(): itself, or another one of its group until it forks.
  uint32_t owner = 0;
  uint32_t source_row = 0;  ///< of an owner: where its first row was before the last fork
  uint32_t read_rows = 0;   ///< of an owner: how many of its rows are read, by it and by those who share them
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

  void clear();
  /// Whether no layer has more than `tokens` rows, and heads do not answer for more tokens, when `sequence` is appended.
  bool fits(const Sequence& sequence, uint32_t tokens) const;
  /// Appends a sequence in input order, its rows, tokens and leader known; the caller has made sure that it fits.
  void append(Sequence sequence);
  /// The first place of the token buffer that no sequence uses.
  uint32_t token_end() const { return token_end_; }
  /// Brings the sequences of a task together, assigns rows as layer 0 has them and builds the strip tables. Tasks with masks come last:
  /// strips whose rows all are masked need no dense chains, so at most one is computed both ways. Otherwise tasks, and the sequences of
  /// each, are ordered so that many end where a strip ends.
  void group();
  /// Whether some sequence forks where `layer` begins: its task changes this layer and it shares rows.
  bool forks_at(uint32_t layer) const { return layer == next_fork_; }
  /// The next such layer; kNoLayer where there is none.
  uint32_t next_fork() const { return next_fork_; }
  /// Gives those sequences rows of their own. Rows move: every owner's first one was at its source_row. Layers come in ascending order.
  void fork();
  /// Keeps of every sequence only the rows that its head reads (or another one that shares them), from the last layer's queries on: the
  /// first one where the head pools the first token, else all. Calls move(from, to) for every row that moves, in an order in which rows
  /// can be moved in place. False where nothing is dropped.
  template <typename Move>
  bool keep_read_rows(const Move& move);

  std::span<const Sequence> sequences() const { return {sequences_, sequence_count_}; }
  bool owns_rows(uint32_t sequence) const { return sequences_[sequence].owner == sequence; }
  /// Rows of the current layer; before group() of the last one, which has most.
  uint32_t rows() const { return rows_; }
  uint32_t strips() const { return strip_count(rows_); }
  RowGroups groups() const { return {row_segments_, row_strip_begin_}; }
  SequenceMap sequence_map() const { return {sequence_segments_, sequence_strip_begin_}; }
  /// [rows]: each row's index into the token buffer.
  const uint32_t* row_tokens() const { return row_tokens_; }
  /// [rows]: each row's sequence; the owner of shared ones.
  const uint32_t* row_sequences() const { return row_sequences_; }

 private:
  /// Fills sorted_, from keys_ that are sorted; runs of equal keys stay together.
  void order_by_strips();
  /// Rows that the sequence adds to layer 0; counted for some of a group that shares rows by another member, but for one of each at least.
  uint32_t first_layer_rows(uint32_t input) const;
  /// Rows that `sequence` adds to the last layer.
  uint32_t added_rows(const Sequence& sequence) const;
  /// Who shares whose rows in layer 0.
  void choose_owners();
  void find_next_fork();
  /// Rows of all owners, one after another.
  void assign_rows();
  /// The tables of sequences as they stand.
  void build_tables();
  /// Sets read_rows of owners; returns the sum.
  uint32_t count_read_rows();

  Sequence* sequences_ = nullptr;  // input order until group()
  Sequence* sorted_ = nullptr;
  uint64_t* keys_ = nullptr;
  uint32_t* run_begin_ = nullptr;  // [runs + 1] into keys_
  StripOrder runs_, run_sequences_;
  uint32_t* owners_ = nullptr;  // of groups, by leader
  uint32_t sequence_count_ = 0, rows_ = 0, token_end_ = 0;
  uint32_t answer_tokens_ = 0;  // of sequences whose heads answer for tokens
  bool groups_ = false;         // whether any group has two sequences
  uint32_t next_fork_ = TaskWeights::kNoLayer;
  RowSegment* row_segments_ = nullptr;
  uint32_t* row_strip_begin_ = nullptr;
  kernels::AttentionSegment* sequence_segments_ = nullptr;
  uint32_t* sequence_strip_begin_ = nullptr;
  uint32_t* row_tokens_ = nullptr;
  uint32_t* row_sequences_ = nullptr;
};

template <typename Move>
bool PackedBatch::keep_read_rows(const Move& move) {
  if (count_read_rows() == rows_) return false;
  uint32_t row = 0;
  for (uint32_t i = 0; i < sequence_count_; ++i) {
    Sequence& sequence = sequences_[i];
    if (!owns_rows(i)) continue;
    const uint32_t from = sequence.first_row;
    sequence.rows = sequence.read_rows;
    sequence.first_row = row;
    for (uint32_t r = 0; r < sequence.rows && from != row; ++r) move(from + r, row + r);
    row += sequence.rows;
  }
  rows_ = row;
  build_tables();
  return true;
}

}  // namespace pets::engine
