// What the tests of a server's counters share: printed seeds, threads that start together, a proof that a path does not allocate.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "runtime/serving/batch_trace.h"
#include "runtime/serving/metrics.h"

#ifdef PETS_COUNT_ALLOCATIONS
#include "tests/testing_util/allocations.h"
#endif

namespace pets::serving {

#ifdef PETS_SLOW_BUILD
inline constexpr int kEffort = 1;
#else
inline constexpr int kEffort = 10;
#endif

inline constexpr uint64_t kMicrosecond = 1'000, kMillisecond = 1'000'000, kSecond = 1'000'000'000, kHour = 3'600 * kSecond;

inline std::unique_ptr<Metrics> make_metrics(uint32_t max_tasks) {
  auto metrics = Metrics::create(max_tasks);
  EXPECT_TRUE(metrics) << metrics.status().c_str();
  return std::move(metrics).value();
}

inline BatchTrace make_trace(uint32_t capacity) {
  auto trace = BatchTrace::create(capacity);
  EXPECT_TRUE(trace) << trace.status().c_str();
  return std::move(trace).value();
}

/// A generator whose seed is in the message of every failure.
#define PETS_SEEDED_RANDOM(name)                                            \
  const uint64_t name##_seed = std::random_device()();                      \
  SCOPED_TRACE("seed " + std::to_string(name##_seed));                      \
  std::printf("seed %llu\n", static_cast<unsigned long long>(name##_seed)); \
  std::mt19937_64 name(name##_seed)

/// Calls write(thread) on `threads` threads at once, and read() on this one again and again until all have returned, and once more.
template <class Write, class Read>
void write_and_read(uint32_t threads, Write write, Read read) {
  std::atomic<uint32_t> running{threads};
  std::atomic<bool> go{false};
  std::vector<std::thread> writers;
  for (uint32_t i = 0; i < threads; ++i) {
    writers.emplace_back([&, i] {
      go.wait(false);
      write(i);
      --running;
    });
  }
  go = true;
  go.notify_all();
  while (running != 0) read();
  for (std::thread& writer : writers) writer.join();
  read();
}

/// Heap allocations and mappings of the whole process during function(). Under sanitizers, whose allocator excludes counting, 0.
template <class Function>
int allocations_of(Function function) {
#ifdef PETS_COUNT_ALLOCATIONS
  testing_util::start_counting_allocations();
  function();
  return testing_util::stop_counting_allocations();
#else
  function();
  return 0;
#endif
}

}  // namespace pets::serving
