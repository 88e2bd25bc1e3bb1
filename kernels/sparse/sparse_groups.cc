#include "kernels/sparse/sparse_groups.h"

#include <algorithm>

namespace pets::kernels {
namespace {

constexpr uint32_t groups_of(uint32_t entries) { return (entries + kSparseGroupEntries - 1) / kSparseGroupEntries; }

/// Takes a column's entries one by one, from every bank in stored order.
class Column {
 public:
  explicit Column(const SparseColumns& from) : from_(&from) {}
  Column(const SparseColumns& from, uint32_t column) : from_(&from), end_(from.column_start[column + 1]) {
    const uint32_t begin = from.column_start[column];
    groups_ = groups_of(end_ - begin);
    for (uint32_t& next : next_) next = begin;
    for (uint32_t j = begin; j < end_; ++j) ++left_[bank(j)];
  }
  uint32_t groups() const { return groups_; }

  /// From the bank, or where it has none from the one that has most.
  void take(uint32_t wanted, uint16_t& place, float& value) {
    if (left_[wanted] == 0) {
      const auto most = static_cast<uint32_t>(std::max_element(left_, left_ + kSparseBanks) - left_);
      if (left_[most] == 0) {
        place = static_cast<uint16_t>(from_->in + wanted);
        value = 0;
        return;
      }
      wanted = most;
    }
    uint32_t& next = next_[wanted];
    while (bank(next) != wanted) ++next;
    place = static_cast<uint16_t>(sparse_place(from_->rows[next]));
    value = from_->values[next++];
    --left_[wanted];
  }

 private:
  uint32_t bank(uint32_t entry) const { return sparse_place(from_->rows[entry]) % kSparseBanks; }

  const SparseColumns* from_;
  uint32_t end_ = 0, groups_ = 0;
  uint32_t next_[kSparseBanks] = {};
  uint32_t left_[kSparseBanks] = {};
};

uint32_t rounds_of(const uint32_t* column_start, uint32_t first, uint32_t out) {
  uint32_t groups = 0;
  for (uint32_t column = first; column < std::min(first + kSparsePanelColumns, out); ++column) {
    groups += groups_of(column_start[column + 1] - column_start[column]);
  }
  return (groups + kSparseRuns - 1) / kSparseRuns;
}

}  // namespace

size_t sparse_group_count(const uint32_t* column_start, uint32_t out) {
  size_t count = 0;
  for (uint32_t first = 0; first < out; first += kSparsePanelColumns) count += size_t{rounds_of(column_start, first, out)} * kSparseRuns;
  return count;
}

void group_sparse(const SparseColumns& from, SparsePanel* panels, uint16_t* places, float* values) {
  uint32_t first_group = 0;
  for (uint32_t first = 0; first < from.out; first += kSparsePanelColumns) {
    SparsePanel panel;
    panel.first_group = first_group;
    const uint32_t rounds = rounds_of(from.column_start, first, from.out), end = std::min(first + kSparsePanelColumns, from.out);
    panel.rounds = static_cast<uint16_t>(rounds);
    uint32_t column = first, left = 0;  // groups of the column that are not written
    Column entries(from);
    for (uint32_t run = 0; run < kSparseRuns; ++run) {
      for (uint32_t round = 0; round < rounds; ++round) {
        while (left == 0 && column < end) {
          entries = Column(from, column++);
          left = entries.groups();
        }
        const size_t at = (size_t{first_group} + round * kSparseRuns + run) * kSparseGroupEntries;
        for (uint32_t i = 0; i < kSparseGroupEntries; ++i) entries.take((i + run) % kSparseBanks, places[at + i], values[at + i]);
        if (left == 0) continue;  // all are written: this fills up
        const uint32_t index = column - 1 - first;
        places[at] |= static_cast<uint16_t>(index % 8 << kSparsePlaceBits);
        places[at + 2] |= static_cast<uint16_t>(index / 8 << kSparsePlaceBits | (left == 1 ? kSparseLastBit : 0));
        --left;
      }
      if (left != 0) panel.continued |= static_cast<uint16_t>(1U << run);
    }
    first_group += rounds * kSparseRuns;
    *panels++ = panel;
  }
}

}  // namespace pets::kernels
