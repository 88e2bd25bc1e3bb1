// A base that was packed for a GPU, on the CPU.
#pragma once

#include "runtime/engine/weights.h"

namespace pets::engine {

/// Replaces the base's row-major weights by panels (the pooler's by float32 ones), and tables in reduced precision by float32 ones, in
/// arrays of `arena`: exactly the values of the bundle. May throw std::bad_alloc. `layers` are the base's; null where the arena only
/// counts.
void repack_for_cpu(BaseWeights& base, LayerWeights* layers, memory::Arena& arena);

}  // namespace pets::engine
