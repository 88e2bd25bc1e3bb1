#include "kernels/sparse/sparse_groups.h"

#include <algorithm>

namespace pets::kernels {
namespace {

constexpr uint32_t groups_of(uint32_t entries) { return (entries + kSparseGroupEntries - 1) / kSparseGroupEntries; }

/// Takes a column's entries one by one, from every bank in stored order.
class Column {
 public:
  Column() = default;
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

  const SparseColumns* from_ = nullptr;
  uint32_t end_ = 0, groups_ = 0;
  uint32_t next_[kSparseBanks] = {};
  uint32_t left_[kSparseBanks] = {};
};

}  // namespace

size_t sparse_group_count(const uint32_t* column_start, uint32_t out) {
  size_t count = 0;
  for (uint32_t column = 0; column < out; ++column) count += groups_of(column_start[column + 1] - column_start[column]);
  return count;
}

void group_sparse(const SparseColumns& from, SparsePanel* panels, uint16_t* places, float* values) {
  uint32_t group = 0;
  for (uint32_t first = 0; first < from.out; first += kSparsePanelColumns) {
    SparsePanel panel;
    panel.first_group = group;
    Column columns[kSparsePanelColumns];
    for (uint32_t c = 0; c < kSparsePanelColumns && first + c < from.out; ++c) {
      columns[c] = Column(from, first + c);
      panel.groups[c] = static_cast<uint16_t>(columns[c].groups());
    }
    for (uint32_t round = 0, taken = 1; taken != 0; ++round, group += taken) {
      taken = 0;
      for (uint32_t c = 0; c < kSparsePanelColumns; c += 2) {
        if (round >= columns[c].groups() + columns[c + 1].groups()) continue;
        Column& column = columns[round < columns[c].groups() ? c : c + 1];
        for (uint32_t i = 0; i < kSparseGroupEntries; ++i) column.take((i + c / 2) % kSparseBanks, *places++, *values++);
        ++taken;
      }
    }
    *panels++ = panel;
  }
}

}  // namespace pets::kernels
