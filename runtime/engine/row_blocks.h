// Which strips of a batch one worker takes through a layer together.
#pragma once

#include <cstdint>

#include "runtime/engine/batch.h"

namespace pets::engine {

/// Strips of one block, about: a weight panel is read once for all of them while it is in the L1 cache, and their activations stay in L2
/// (6 strips x 1,536 features x 64 B = 576 KiB for MiniLM's widest).
inline constexpr uint32_t kBlockStrips = 6;
/// And at most, where a task ends there.
inline constexpr uint32_t kMostBlockStrips = 8;

/// Cuts `strips` strips into blocks of about kBlockStrips. A cut moves by up to two strips to where a task's rows end: masked weights,
/// sparse deltas and adapters are then read once for all rows of their task. The last blocks, two a thread, are alike and as few as can be;
/// their cuts move only where that leaves no thread waiting for another's. begin: [strips + 1]; block i is strips [begin[i], begin[i + 1]).
/// Returns the number of blocks.
uint32_t cut_blocks(const RowGroups& groups, uint32_t strips, uint32_t threads, uint32_t* begin);

}  // namespace pets::engine
