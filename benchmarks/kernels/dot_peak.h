// The measured ceiling of dot products: what the instructions of gemm/dot_<isa>.cc give when nothing else limits them.
#pragma once

#include "kernels/isa.h"
#include "kernels/strip.h"

namespace pets::benchmarks {

/// GOP/s (a product and its sum count two, as in fma_peak.h) of dependency-free chains of the calling thread, by its CPU time. `type` is
/// kInt8, or kBFloat16 where the kernels of `isa` have dot products for it. The portable kernels have no such instructions: 0.
double dot_peak_of_this_thread(kernels::Isa isa, kernels::WeightType type, double seconds = 0.002);
/// The same of so many threads at once, by the clock that they share.
double dot_peak_gops(unsigned threads, kernels::Isa isa, kernels::WeightType type, double seconds = 0.02);

}  // namespace pets::benchmarks
