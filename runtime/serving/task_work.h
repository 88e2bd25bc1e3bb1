// What a task's operators work on, as the cost model counts it.
#pragma once

#include "runtime/engine/weights.h"
#include "runtime/serving/cost_model.h"

namespace pets::serving {

/// Work by family over all layers, as documented at TaskWork: a look at the tables alone, no weights are read but the ends of sparse
/// columns. Replaced rows of embeddings count nothing: they are looked up in place of the base's. Thread-safe, does not allocate.
TaskWork work_of(const engine::TaskWeights& weights, const engine::BaseWeights& base) noexcept;

}  // namespace pets::serving
