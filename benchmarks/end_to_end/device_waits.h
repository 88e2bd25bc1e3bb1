// How the host waits for a GPU.
#pragma once

namespace pets::benchmarks {

/// Threads that wait for the device sleep (true) instead of spinning (false, mostly CUDA's default): only then is a thread's CPU time what
/// it computed itself. A sleeping thread wakes some 10 us later, so times by the clock are taken with spinning. False where there is no
/// device or this build has no CUDA.
bool sleep_while_waiting(bool sleep);

}  // namespace pets::benchmarks
