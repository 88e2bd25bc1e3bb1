// The measured ceiling of this machine's memory: what plain reading gives when nothing is computed.
#pragma once

#include <cstddef>

namespace pets::benchmarks {

/// GB/s (1e9 bytes) of `threads` threads that read their own `bytes_per_thread` in order, again and again, for `seconds` together by the
/// clock. Beyond the last cache's size a thread it is the memory's rate; the buffers are touched before the clock starts.
double read_bandwidth_gbs(unsigned threads, double seconds = 0.04, size_t bytes_per_thread = size_t{96} << 20U);

}  // namespace pets::benchmarks
