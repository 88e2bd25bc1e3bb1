// Histograms that any number of threads write and read at any time, in memory whose size is known when they are compiled.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

namespace pets::serving {

/// Durations in nanoseconds. Buckets are linear inside each of the ranges 1-2, 2-5 and 5-10 of a decade, (edge, next edge], no wider than
/// 2 % of where they begin; so 1, 2 and 5 times every power of ten are edges, and what a report says of "up to 10 ms" is exact. Durations
/// up to a microsecond share the first bucket, those over an hour the last. 13 KiB.
class Histogram {
 public:
  /// Of a quantile between kFirstEdge and kLastEdge. (A bucket is reported as the harmonic mean of its edges, which is off by
  /// (b - a) / (b + a) at both of them: at most 1/101, and the rounding to a nanosecond.)
  static constexpr double kMaxRelativeError = 0.01;
  static constexpr uint64_t kFirstEdge = 1'000;               ///< 1 us
  static constexpr uint64_t kLastEdge = 3'600'000'000'000;    ///< 1 h
  static constexpr uint64_t kLongest = uint64_t{1} << 53;     ///< 104 days: longer ones are recorded as this, so that no sum wraps
  static constexpr uint32_t kBuckets = 1 + 9 * 175 + 90 + 1;  ///< first, nine decades, to 2000 s and 3600 s, last

  Histogram() = default;
  Histogram(const Histogram&) = delete;
  Histogram& operator=(const Histogram&) = delete;

  /// Two atomic additions; wait-free once the maximum is there, and retried only against threads that raise it at the same moment.
  void record(uint64_t nanoseconds) noexcept;

  // Readers see, of every duration that they count, its sum and maximum too; never the other way round.

  uint64_t count() const noexcept;  ///< adds the buckets up
  uint64_t sum() const noexcept { return sum_.load(std::memory_order_relaxed); }
  uint64_t max() const noexcept { return max_.load(std::memory_order_relaxed); }

  /// The smallest duration that at least a part `q` of all (0 to 1; what is outside counts as the nearer) do not exceed, within
  /// kMaxRelativeError and never over max(). In the first bucket: at most a microsecond; in the last, and for the
  /// largest of all: max(); without records 0.
  uint64_t quantile(double q) const noexcept;

  /// Adds what `other` holds. No thread may read this histogram meanwhile; `other` may be written.
  void merge(const Histogram& other) noexcept;

  /// counts[i]: how many durations were at most edges[i], which ascend. Exact at edges (see above), else up to the end of the bucket.
  /// Returns how many there are in all, at the same moment. `counts` is as long as `edges`.
  uint64_t cumulative(std::span<const uint64_t> edges, std::span<uint64_t> counts) const noexcept;

  /// Bucket of a duration, and the durations (above, up_to] of a bucket; the last one's up_to is UINT64_MAX.
  static uint32_t bucket_of(uint64_t nanoseconds) noexcept;
  struct Range {
    uint64_t above = 0;
    uint64_t up_to = 0;
  };
  static Range range(uint32_t bucket) noexcept;

 private:
  std::atomic<uint64_t> sum_{0};
  std::atomic<uint64_t> max_{0};
  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
};

/// Sizes of batches: buckets up to 1, 2, 4, ... 65536, and one for the larger.
class SizeHistogram {
 public:
  static constexpr uint32_t kEdges = 17;
  static constexpr uint64_t edge(uint32_t bucket) noexcept { return uint64_t{1} << bucket; }

  void record(uint32_t size) noexcept;

  uint64_t sum() const noexcept { return sum_.load(std::memory_order_relaxed); }
  uint64_t max() const noexcept { return max_.load(std::memory_order_relaxed); }
  uint64_t count() const noexcept;
  /// counts[i]: how many sizes were at most edge(i). Returns how many there are in all, at the same moment.
  uint64_t cumulative(std::array<uint64_t, kEdges>& counts) const noexcept;

 private:
  std::atomic<uint64_t> sum_{0};
  std::atomic<uint64_t> max_{0};
  std::array<std::atomic<uint64_t>, kEdges + 1> buckets_{};
};

}  // namespace pets::serving
