#include "benchmarks/kernels/bandwidth_peak.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace pets::benchmarks {
namespace {

constexpr size_t kChunk = size_t{1} << 20U;  // bytes between looks at the clock: some 100 us

/// Integer sums are associative, so that the compiler may read in its widest vectors.
uint64_t sum_of(const uint64_t* values, size_t count) {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; ++i) sum += values[i];
  return sum;
}

}  // namespace

double read_bandwidth_gbs(unsigned threads, double seconds, size_t bytes_per_thread) {
  using Clock = std::chrono::steady_clock;
  std::atomic<unsigned> waiting{threads};
  std::atomic<uint64_t> kept{0};  // keeps the sums alive
  std::vector<double> rates(threads);
  const auto measure = [&](unsigned t) {
    const std::vector<uint64_t> buffer(bytes_per_thread / sizeof(uint64_t), t + 1);
    waiting.fetch_sub(1);
    while (waiting.load() != 0) {
    }
    const size_t step = kChunk / sizeof(uint64_t);
    const auto start = Clock::now();
    double elapsed = 0;
    size_t bytes = 0, at = 0;
    uint64_t sum = 0;
    do {
      sum += sum_of(buffer.data() + at, step);
      bytes += kChunk;
      at = at + 2 * step <= buffer.size() ? at + step : 0;
      elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    } while (elapsed < seconds);
    kept.fetch_add(sum);
    rates[t] = static_cast<double>(bytes) / elapsed * 1e-9;
  };
  std::vector<std::thread> others;
  for (unsigned t = 1; t < threads; ++t) others.emplace_back(measure, t);
  measure(0);
  for (std::thread& other : others) other.join();
  double sum = 0;
  for (const double rate : rates) sum += rate;
  return sum;
}

}  // namespace pets::benchmarks
