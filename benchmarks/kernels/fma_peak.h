// The measured ceiling of this machine: what its multiply-add units give when nothing else limits them. Shares of it are what the
// benchmarks report, because clock rates and neighbours change from minute to minute.
#pragma once

#include <functional>

#include "kernels/isa.h"

namespace pets::benchmarks {

/// CPU seconds of this thread: what other processes take of its core does not count.
double thread_seconds();
/// Seconds of a clock that everybody shares.
double clock_seconds();
/// The sum of what `rate` returns on so many threads that begin together; the calling thread is one of them.
double sum_over_threads(unsigned threads, const std::function<double()>& rate);

/// GFLOP/s (a fused multiply-add counts two) of dependency-free chains of multiply-adds in registers, summed over `threads` threads
/// that run for `seconds` together by the clock, in the widest vectors of `isa`.
double fma_peak_gflops(unsigned threads, kernels::Isa isa = kernels::best_isa(), double seconds = 0.02);

/// The same of the calling thread alone, by its CPU time.
double fma_peak_of_this_thread(kernels::Isa isa, double seconds = 0.002);

}  // namespace pets::benchmarks
