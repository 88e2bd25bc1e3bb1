// In which order rows are packed, so that many tasks and queries end where a strip ends.
#pragma once

#include <cstdint>

#include "kernels/strip.h"
#include "runtime/memory/arena.h"

namespace pets::engine {

/// Items that are packed one after another, each some rows. Whatever works for one task or one sequence, a mask, a sparse column, an
/// adapter, attention, is computed for whole strips: 31 rows that begin anywhere lie in 2.9 strips in the mean, in 2 where they begin or
/// end at a strip's edge. So the next item is one that ends at an edge, if there is any, else one that lets the next but one end there: of
/// many items of any lengths about half begin at an edge and the others end there. Bin packing with the remainders modulo 16 for sizes,
/// greedily, in O(16) an item; items of equal remainder keep their order.
class StripOrder {
 public:
  /// Room for items [0, items).
  void lay_out(memory::Arena& arena, uint32_t items) { next_ = arena.array<uint32_t>(items); }

  /// Every item at most once; it stays until it is taken.
  void add(uint32_t item, uint32_t rows);
  bool empty() const { return items_ == 0; }
  /// The next item, where so many rows lie before it.
  uint32_t take(uint32_t rows_before);

 private:
  struct Queue {
    uint32_t first = 0, last = 0, items = 0;
  };

  /// Which queue is next, `lane` being the first free one of a strip.
  uint32_t choose(uint32_t lane) const;

  uint32_t* next_ = nullptr;           // in the item's queue
  Queue queues_[kernels::kStripRows];  // by rows modulo the rows of a strip
  uint32_t items_ = 0;
};

}  // namespace pets::engine
