#include "runtime/engine/batch.h"

#include <algorithm>

namespace pets::engine {

using kernels::kStripRows;

void PackedBatch::lay_out(memory::Arena& arena, uint32_t tokens, uint32_t queries) {
  const size_t strips = strip_count(tokens);
  sequences_ = arena.array<Sequence>(queries);
  sorted_ = arena.array<Sequence>(queries);
  keys_ = arena.array<uint64_t>(queries);
  // Every strip begins at least one segment, and every sequence can begin one more inside a strip.
  row_segments_ = arena.array<RowSegment>(strips + queries);
  row_strip_begin_ = arena.array<uint32_t>(strips + 1);
  sequence_segments_ = arena.array<kernels::AttentionSegment>(strips + queries);
  sequence_strip_begin_ = arena.array<uint32_t>(strips + 1);
  row_tokens_ = arena.array<uint32_t>(tokens);
  row_sequences_ = arena.array<uint32_t>(tokens);
}

void PackedBatch::append(const Sequence& sequence) {
  sequences_[sequence_count_++] = sequence;
  rows_ += sequence.rows;
}

void PackedBatch::group() {
  for (uint32_t i = 0; i < sequence_count_; ++i) {
    keys_[i] = batch_order(*sequences_[i].task) | i;
  }
  std::sort(keys_, keys_ + sequence_count_);
  uint32_t row = 0;
  for (uint32_t i = 0; i < sequence_count_; ++i) {
    sorted_[i] = sequences_[static_cast<uint32_t>(keys_[i])];
    sorted_[i].first_row = sorted_[i].first_key = row;
    row += sorted_[i].rows;
  }
  std::swap(sequences_, sorted_);
  build_tables();
}

void PackedBatch::build_tables() {
  for (uint32_t i = 0; i < sequence_count_; ++i) {
    const Sequence& sequence = sequences_[i];
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
    while (sequences_[first].first_row + sequences_[first].rows <= begin) ++first;
    for (uint32_t s = first; s < sequence_count_ && sequences_[s].first_row < end; ++s) {
      const Sequence& sequence = sequences_[s];
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
