#include "runtime/engine/batch.h"

#include <algorithm>

namespace pets::engine {

using kernels::kStripRows;

namespace {

bool never_forks(const Sequence& sequence) { return sequence.task->weights.first_changed_layer == TaskWeights::kNoLayer; }

/// Tokens that the sequence's head answers for, one by one.
uint32_t answer_tokens(const Sequence& sequence) {
  return sequence.task->weights.head.pooling == schema::Pooling::kTokens ? sequence.tokens : 0;
}

}  // namespace

void PackedBatch::lay_out(memory::Arena& arena, uint32_t tokens, uint32_t queries) {
  const size_t strips = strip_count(tokens);
  sequences_ = arena.array<Sequence>(queries);
  sorted_ = arena.array<Sequence>(queries);
  keys_ = arena.array<uint64_t>(queries);
  run_begin_ = arena.array<uint32_t>(queries + 1);
  runs_.lay_out(arena, queries);
  run_sequences_.lay_out(arena, queries);
  owners_ = arena.array<uint32_t>(queries);
  // Every strip begins at least one segment, and every sequence can begin one more inside a strip.
  row_segments_ = arena.array<RowSegment>(strips + queries);
  row_strip_begin_ = arena.array<uint32_t>(strips + 1);
  sequence_segments_ = arena.array<kernels::AttentionSegment>(strips + queries);
  sequence_strip_begin_ = arena.array<uint32_t>(strips + 1);
  row_tokens_ = arena.array<uint32_t>(tokens);
  row_sequences_ = arena.array<uint32_t>(tokens);
}

void PackedBatch::clear() {
  sequence_count_ = rows_ = token_end_ = answer_tokens_ = 0;
  groups_ = false;
  next_fork_ = TaskWeights::kNoLayer;
}

bool PackedBatch::fits(const Sequence& sequence, uint32_t tokens) const {
  return rows_ + added_rows(sequence) <= tokens && answer_tokens_ + answer_tokens(sequence) <= tokens;
}

uint32_t PackedBatch::added_rows(const Sequence& sequence) const {
  // Of those that never fork the first one has rows in the last layer; of all others each has.
  const bool shares = sequence.leader != Sequence::kItself && sequences_[sequence.leader].never_forks && never_forks(sequence);
  return shares ? 0 : sequence.rows;
}

void PackedBatch::append(Sequence sequence) {
  rows_ += added_rows(sequence);
  answer_tokens_ += answer_tokens(sequence);
  token_end_ = std::max(token_end_, sequence.token_begin + sequence.rows);
  if (sequence.leader == Sequence::kItself) {
    sequence.leader = sequence_count_;
  } else {
    groups_ = true;
  }
  sequences_[sequence_count_++] = sequence;
  if (never_forks(sequence)) sequences_[sequence.leader].never_forks = true;
}

void PackedBatch::group() {
  for (uint32_t i = 0; i < sequence_count_; ++i) {
    keys_[i] = batch_order(*sequences_[i].task) | i;
  }
  std::sort(keys_, keys_ + sequence_count_);
  order_by_strips();
  std::swap(sequences_, sorted_);
  if (groups_) choose_owners();
  assign_rows();
  build_tables();
}

uint32_t PackedBatch::first_layer_rows(uint32_t input) const {
  const Sequence& sequence = sequences_[input];
  return sequence.leader != input && sequence.task->weights.first_changed_layer != 0 ? 0 : sequence.rows;
}

void PackedBatch::order_by_strips() {
  uint32_t packed = 0, rows = 0;
  for (uint32_t run = 0, key = 0; key < sequence_count_;) {
    const bool masked = keys_[key] >> 63 != 0;
    for (; key < sequence_count_ && (keys_[key] >> 63 != 0) == masked; ++run) {
      run_begin_[run] = key;
      uint32_t run_rows = 0;
      for (const uint64_t order = keys_[key] >> 32; key < sequence_count_ && keys_[key] >> 32 == order; ++key) {
        run_rows += first_layer_rows(static_cast<uint32_t>(keys_[key]));
      }
      run_begin_[run + 1] = key;
      runs_.add(run, run_rows);
    }
    while (!runs_.empty()) {
      const uint32_t taken = runs_.take(rows);
      for (uint32_t i = run_begin_[taken]; i < run_begin_[taken + 1]; ++i) {
        run_sequences_.add(i, first_layer_rows(static_cast<uint32_t>(keys_[i])));
      }
      while (!run_sequences_.empty()) {
        const auto input = static_cast<uint32_t>(keys_[run_sequences_.take(rows)]);
        rows += first_layer_rows(input);
        sorted_[packed] = sequences_[input];
        sorted_[packed].owner = packed;
        ++packed;
      }
    }
  }
}

void PackedBatch::choose_owners() {
  constexpr uint32_t kNone = UINT32_MAX;
  const auto first_changed = [this](uint32_t i) { return sequences_[i].task->weights.first_changed_layer; };
  std::fill_n(owners_, sequence_count_, kNone);
  for (uint32_t i = 0; i < sequence_count_; ++i) {
    uint32_t& owner = owners_[sequences_[i].leader];
    if (owner == kNone || first_changed(owner) < first_changed(i)) owner = i;
  }
  for (uint32_t i = 0; i < sequence_count_; ++i) {
    if (first_changed(i) != 0) sequences_[i].owner = owners_[sequences_[i].leader];
  }
  find_next_fork();
}

void PackedBatch::find_next_fork() {
  next_fork_ = TaskWeights::kNoLayer;
  for (uint32_t i = 0; i < sequence_count_; ++i) {
    if (!owns_rows(i)) next_fork_ = std::min(next_fork_, sequences_[i].task->weights.first_changed_layer);
  }
}

void PackedBatch::fork() {
  for (uint32_t i = 0; i < sequence_count_; ++i) {
    Sequence& sequence = sequences_[i];
    sequence.source_row = sequences_[sequence.owner].first_row;
  }
  for (uint32_t i = 0; i < sequence_count_; ++i) {
    Sequence& sequence = sequences_[i];
    if (sequence.task->weights.first_changed_layer == next_fork_) sequence.owner = i;
  }
  find_next_fork();
  assign_rows();
  build_tables();
}

void PackedBatch::assign_rows() {
  rows_ = 0;
  for (uint32_t i = 0; i < sequence_count_; ++i) {
    Sequence& sequence = sequences_[i];
    if (!owns_rows(i)) continue;
    sequence.first_row = sequence.first_key = rows_;
    rows_ += sequence.rows;
  }
}

uint32_t PackedBatch::count_read_rows() {
  for (Sequence& sequence : std::span(sequences_, sequence_count_)) {
    sequence.read_rows = sequence.task->weights.head.reads_first_row() ? std::min(sequence.tokens, 1U) : sequence.tokens;
  }
  for (uint32_t i = 0; groups_ && i < sequence_count_; ++i) {
    Sequence& owner = sequences_[sequences_[i].owner];
    owner.read_rows = std::max(owner.read_rows, sequences_[i].read_rows);
  }
  uint32_t rows = 0;
  for (uint32_t i = 0; i < sequence_count_; ++i) rows += owns_rows(i) ? sequences_[i].read_rows : 0;
  return rows;
}

void PackedBatch::build_tables() {
  for (uint32_t i = 0; i < sequence_count_; ++i) {
    Sequence& sequence = sequences_[i];
    if (!owns_rows(i)) {
      const Sequence& owner = sequences_[sequence.owner];
      sequence.first_row = owner.first_row;
      sequence.first_key = owner.first_key;
      sequence.rows = owner.rows;
      continue;
    }
    for (uint32_t r = 0; r < sequence.rows; ++r) {
      row_tokens_[sequence.first_row + r] = sequence.token_begin + r;
      row_sequences_[sequence.first_row + r] = i;
    }
  }
  uint32_t row_segment = 0, sequence_segment = 0, first = 0;
  for (uint32_t strip = 0; strip < strips(); ++strip) {
    row_strip_begin_[strip] = row_segment;
    sequence_strip_begin_[strip] = sequence_segment;
    const uint32_t begin = strip * kStripRows, end = std::min(begin + kStripRows, rows_);
    while (!owns_rows(first) || sequences_[first].first_row + sequences_[first].rows <= begin) ++first;
    for (uint32_t s = first; s < sequence_count_; ++s) {
      const Sequence& sequence = sequences_[s];
      if (!owns_rows(s)) continue;
      if (sequence.first_row >= end) break;
      const uint32_t lane_begin = std::max(sequence.first_row, begin) - begin;
      const uint32_t lane_end = std::min(sequence.first_row + sequence.rows, end) - begin;
      sequence_segments_[sequence_segment++] = {lane_begin, lane_end, sequence.first_key, sequence.tokens};
      const bool same_task = row_segment > row_strip_begin_[strip] && row_segments_[row_segment - 1].task == sequence.task;
      RowSegment& segment = same_task ? row_segments_[row_segment - 1] : row_segments_[row_segment++];
      if (!same_task) segment = {sequence.task, 0, static_cast<uint8_t>(lane_begin), 0};
      segment.lane_end = static_cast<uint8_t>(lane_end);
      segment.lanes = kernels::lane_range(segment.lane_begin, segment.lane_end);
    }
  }
  row_strip_begin_[strips()] = row_segment;
  sequence_strip_begin_[strips()] = sequence_segment;
}

}  // namespace pets::engine
