// A latency table for a server that was given none.
#pragma once

#include "pets/session.h"
#include "runtime/engine/weights.h"
#include "runtime/serving/latency_table.h"

namespace pets::serving {

/// Measures batches of an internal task without operators on the session itself, from few rows on, until about `seconds` are spent; the
/// smallest sizes are measured however long they take. PET operators are not measured: their points follow from the rate of multiply-adds
/// found and factors by family (fit.cc), good to about a factor of two; the corrections of the cost model and `pets-bench profile` do
/// better.
///
/// Nobody else may use the session meanwhile, and no query may be waiting for an answer of it. What is allocated is not the session's, and
/// nothing stays in it (on a CUDA device: a slot without values, which the next task takes). Where not one batch can be run (a device
/// that fails), the table has no points.
LatencyTable fit_at_load(Session::Impl& session, double seconds = 0.25);

/// A table without any measurement: a usual rate of multiply-adds, and what starting a batch costs as a number of rows. Right about which
/// batches are good ones, not about seconds, until the cost model has been corrected by a few batches.
LatencyTable nominal_table(const Session::Impl& session);

/// Points of PET operators where a row of a batch takes `seconds` for `multiply_adds` of the shared encoder: what fit_at_load states.
std::vector<BetaPoint> usual_beta(const engine::BaseWeights& base, double seconds, double multiply_adds);

}  // namespace pets::serving
