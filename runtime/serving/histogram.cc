#include "runtime/serving/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

namespace pets::serving {
namespace {

/// A part of a decade with buckets of one width; values are nanoseconds less one, so that a range (a, b] becomes [a, b).
struct Segment {
  uint64_t begin = 0;
  uint64_t width = 1;
  uint32_t first_bucket = 0;
};

constexpr uint32_t kSegments = 9 * 3 + 2;

/// One more than there are: the last says where the one before ends.
constexpr std::array<Segment, kSegments + 1> make_segments() {
  std::array<Segment, kSegments + 1> segments{};
  uint32_t bucket = 1;
  uint32_t next = 0;
  for (uint64_t decade = Histogram::kFirstEdge; next < kSegments; decade *= 10) {
    struct Part {
      uint64_t begin, end, buckets;
    };
    for (const Part part : {Part{1, 2, 50}, Part{2, 5, 75}, Part{5, 10, 50}}) {
      const uint64_t begin = part.begin * decade;
      const uint64_t end = std::min(part.end * decade, Histogram::kLastEdge);
      if (begin >= end) break;
      const uint64_t width = (part.end - part.begin) * decade / part.buckets;
      segments[next++] = {begin, width, bucket};
      bucket += static_cast<uint32_t>((end - begin) / width);
    }
  }
  segments[next] = {Histogram::kLastEdge, 1, bucket};
  return segments;
}
constexpr std::array<Segment, kSegments + 1> kLatencySegments = make_segments();
static_assert(kLatencySegments[kSegments].first_bucket == Histogram::kBuckets - 1);

/// By the number of bits of a value: the segment of the smallest value with as many. The largest is at most one segment further, since
/// a segment spans a factor of two or more.
constexpr std::array<uint8_t, 65> make_first_segments() {
  std::array<uint8_t, 65> first{};
  for (uint32_t bits = 1; bits <= 64; ++bits) {
    const uint64_t smallest = uint64_t{1} << (bits - 1);
    uint8_t segment = 0;
    while (segment + 1U < kSegments && kLatencySegments[segment + 1U].begin <= smallest) ++segment;
    first[bits] = segment;
  }
  return first;
}
constexpr std::array<uint8_t, 65> kFirstSegments = make_first_segments();

void raise_to(std::atomic<uint64_t>& maximum, uint64_t value) {
  uint64_t seen = maximum.load(std::memory_order_relaxed);
  while (seen < value && !maximum.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

uint64_t harmonic_mean(const Histogram::Range& range) {
  const auto a = static_cast<double>(range.above);
  const auto b = static_cast<double>(range.up_to);
  return static_cast<uint64_t>(std::llround(2 * a * b / (a + b)));
}

}  // namespace

uint32_t Histogram::bucket_of(uint64_t nanoseconds) noexcept {
  if (nanoseconds <= kFirstEdge) return 0;
  if (nanoseconds > kLastEdge) return kBuckets - 1;
  const uint64_t value = nanoseconds - 1;
  uint32_t segment = kFirstSegments[static_cast<size_t>(std::bit_width(value))];
  if (value >= kLatencySegments[segment + 1].begin) ++segment;
  const Segment& at = kLatencySegments[segment];
  return at.first_bucket + static_cast<uint32_t>((value - at.begin) / at.width);
}

Histogram::Range Histogram::range(uint32_t bucket) noexcept {
  if (bucket == 0) return {0, kFirstEdge};
  if (bucket >= kBuckets - 1) return {kLastEdge, UINT64_MAX};
  uint32_t segment = 0;
  while (kLatencySegments[segment + 1].first_bucket <= bucket) ++segment;
  const Segment& at = kLatencySegments[segment];
  const uint64_t above = at.begin + (bucket - at.first_bucket) * at.width;
  return {above, above + at.width};
}

void Histogram::record(uint64_t nanoseconds) noexcept {
  const uint64_t value = std::min(nanoseconds, kLongest);
  raise_to(max_, value);
  sum_.fetch_add(value, std::memory_order_relaxed);
  buckets_[bucket_of(value)].fetch_add(1, std::memory_order_release);  // last: who sees it sees the others
}

uint64_t Histogram::count() const noexcept {
  uint64_t total = 0;
  for (const auto& bucket : buckets_) total += bucket.load(std::memory_order_acquire);
  return total;
}

uint64_t Histogram::quantile(double q) const noexcept {
  const uint64_t total = count();
  if (total == 0) return 0;
  const double part = q > 0 ? std::min(q, 1.0) : 0.0;  // a NaN, too, is 0
  const auto rank = std::clamp<uint64_t>(static_cast<uint64_t>(std::ceil(part * static_cast<double>(total))), 1, total);
  if (rank == total) return max();
  uint64_t below = 0;
  uint32_t bucket = 0;
  for (; bucket < kBuckets - 1; ++bucket) {  // counts only grow: this finds the rank in any case
    below += buckets_[bucket].load(std::memory_order_acquire);
    if (below >= rank) break;
  }
  if (bucket == kBuckets - 1) return max();
  return std::min(bucket == 0 ? kFirstEdge : harmonic_mean(range(bucket)), max());
}

void Histogram::merge(const Histogram& other) noexcept {
  for (uint32_t i = 0; i < kBuckets; ++i) {
    const uint64_t more = other.buckets_[i].load(std::memory_order_acquire);
    if (more != 0) buckets_[i].fetch_add(more, std::memory_order_relaxed);
  }
  sum_.fetch_add(other.sum(), std::memory_order_relaxed);
  raise_to(max_, other.max());
}

uint64_t Histogram::cumulative(std::span<const uint64_t> edges, std::span<uint64_t> counts) const noexcept {
  uint64_t total = 0;
  uint32_t next = 0;
  for (size_t i = 0; i < edges.size(); ++i) {
    for (const uint32_t last = bucket_of(edges[i]); next <= last; ++next) total += buckets_[next].load(std::memory_order_acquire);
    counts[i] = total;
  }
  for (; next < kBuckets; ++next) total += buckets_[next].load(std::memory_order_acquire);
  return total;
}

void SizeHistogram::record(uint32_t size) noexcept {
  raise_to(max_, size);
  sum_.fetch_add(size, std::memory_order_relaxed);
  const auto bucket = static_cast<uint32_t>(std::bit_width(std::max(size, 1U) - 1));
  buckets_[std::min(bucket, kEdges)].fetch_add(1, std::memory_order_release);
}

uint64_t SizeHistogram::count() const noexcept {
  std::array<uint64_t, kEdges> counts{};
  return cumulative(counts);
}

uint64_t SizeHistogram::cumulative(std::array<uint64_t, kEdges>& counts) const noexcept {
  uint64_t total = 0;
  for (uint32_t i = 0; i < kEdges; ++i) {
    total += buckets_[i].load(std::memory_order_acquire);
    counts[i] = total;
  }
  return total + buckets_[kEdges].load(std::memory_order_acquire);
}

}  // namespace pets::serving
