// Seconds of work on the device, several ways of it in interleaved rounds.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "benchmarks/kernels/cuda/gpu.h"

namespace pets::benchmarks::gpu {

/// One way to do some work.
struct Way {
  /// Queues call number n on the stream. Throws where that fails.
  std::function<void(uint32_t n)> queue;
  uint32_t launches = 1;  ///< kernels of a call, about: a queue of work holds some hundred
  double seconds = 0;     ///< the result: of a call, the median of the rounds; 0 where the way is absent
};

/// Measures all ways that have a `queue`. A sample is some calls one after another between two events. They wait behind a gate until all
/// are queued, so that the time is the device's and not the host's, but for calls that copy or wait themselves. Throws what went wrong on
/// the device.
void measure(Gpu& gpu, std::vector<Way*> ways);

/// After a way has thrown: forgets an error of a launch, and throws where the device itself is lost to this process.
void recover(const Gpu& gpu);

/// The shorter of two short samples: to choose among many ways.
double short_sample(Gpu& gpu, const Way& way);

}  // namespace pets::benchmarks::gpu
