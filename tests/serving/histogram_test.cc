#include "runtime/serving/histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>

#include "tests/serving/serving_test.h"

namespace pets::serving {
namespace {

void expect_within_the_bound(uint64_t found, uint64_t expected) {
  EXPECT_LE(std::abs(static_cast<double>(found) - static_cast<double>(expected)),
            Histogram::kMaxRelativeError * static_cast<double>(expected))
      << "expected " << expected << ", found " << found;
}

/// The definition: the smallest value that at least a part q of all do not exceed.
uint64_t exact_quantile(const std::vector<uint64_t>& sorted, double q) {
  const double rank = std::ceil(q * static_cast<double>(sorted.size()));
  return sorted[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

TEST(Histogram, BucketsFollowOneAnotherAndHoldTheirOwnEdges) {
  uint64_t end = 0;
  for (uint32_t bucket = 0; bucket < Histogram::kBuckets; ++bucket) {
    const Histogram::Range range = Histogram::range(bucket);
    ASSERT_EQ(range.above, end);
    ASSERT_EQ(Histogram::bucket_of(range.above + 1), bucket);
    ASSERT_EQ(Histogram::bucket_of(range.up_to), bucket);
    end = range.up_to;
  }
  EXPECT_EQ(end, UINT64_MAX);
  EXPECT_EQ(Histogram::bucket_of(0), 0U);
  EXPECT_EQ(Histogram::range(0).up_to, kMicrosecond);
  EXPECT_EQ(Histogram::range(Histogram::kBuckets - 1).above, kHour);
}

TEST(Histogram, OneTwoAndFiveTimesPowersOfTenAreEdges) {
  for (uint64_t decade = kMicrosecond; decade < kHour; decade *= 10) {
    for (const uint64_t factor : {1, 2, 5}) {
      const uint64_t edge = factor * decade;
      if (edge > kHour) continue;
      EXPECT_EQ(Histogram::range(Histogram::bucket_of(edge)).up_to, edge);
    }
  }
}

TEST(Histogram, TheBoundHoldsAtBothEndsOfEveryBucket) {
  for (uint32_t bucket = 1; bucket < Histogram::kBuckets - 1; ++bucket) {
    const Histogram::Range range = Histogram::range(bucket);
    for (const uint64_t value : {range.above + 1, range.up_to}) {
      Histogram histogram;
      histogram.record(value);
      histogram.record(kHour);  // so that the maximum does not help
      expect_within_the_bound(histogram.quantile(0.5), value);
    }
  }
}

TEST(Histogram, TheBoundHoldsForQuantilesOfRandomDurations) {
  PETS_SEEDED_RANDOM(random);
  for (int round = 0; round < 3 * kEffort; ++round) {
    const auto histogram = std::make_unique<Histogram>();
    const double center = std::uniform_real_distribution<>(std::log(2e3), std::log(1e12))(random);
    std::lognormal_distribution<> durations(center, std::uniform_real_distribution<>(0.01, 2)(random));
    std::vector<uint64_t> values(std::uniform_int_distribution<size_t>(1, 5000)(random));
    uint64_t sum = 0;
    for (uint64_t& value : values) {
      value = std::clamp<uint64_t>(static_cast<uint64_t>(durations(random)), kMicrosecond, kHour);
      histogram->record(value);
      sum += value;
    }
    std::sort(values.begin(), values.end());
    EXPECT_EQ(histogram->count(), values.size());
    EXPECT_EQ(histogram->sum(), sum);
    EXPECT_EQ(histogram->max(), values.back());
    for (const double q : {0.0, 0.001, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0}) {
      expect_within_the_bound(histogram->quantile(q), exact_quantile(values, q));
    }
  }
}

TEST(Histogram, WithoutRecordsEverythingIsZero) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.max(), 0U);
  EXPECT_EQ(histogram.quantile(0.5), 0U);
  uint64_t counts[1] = {7};
  EXPECT_EQ(histogram.cumulative(std::array<uint64_t, 1>{kMillisecond}, counts), 0U);
  EXPECT_EQ(counts[0], 0U);
}

TEST(Histogram, WhatIsOutOfRangeIsCountedInTheFirstAndTheLastBucket) {
  Histogram histogram;
  histogram.record(0);
  EXPECT_EQ(histogram.quantile(1), 0U);
  histogram.record(1);
  histogram.record(kMicrosecond);
  EXPECT_EQ(histogram.quantile(0.5), kMicrosecond);
  histogram.record(kHour + 1);
  EXPECT_EQ(histogram.quantile(1), kHour + 1);
  histogram.record(Histogram::kLongest + 1);
  histogram.record(UINT64_MAX);
  EXPECT_EQ(histogram.count(), 6U);
  EXPECT_EQ(histogram.max(), Histogram::kLongest);
  EXPECT_EQ(histogram.quantile(1), Histogram::kLongest);
  EXPECT_EQ(histogram.sum(), 1 + kMicrosecond + kHour + 1 + 2 * Histogram::kLongest);
}

TEST(Histogram, QuantilesOutsideZeroToOneAreTheNearer) {
  Histogram histogram;
  histogram.record(kMillisecond);
  histogram.record(kSecond);
  for (const double q : {-1.0, -std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_EQ(histogram.quantile(q), histogram.quantile(0));
  }
  EXPECT_EQ(histogram.quantile(2), kSecond);
}

TEST(Histogram, AMergeIsAsIfAllHadBeenRecordedInOne) {
  PETS_SEEDED_RANDOM(random);
  Histogram left, right, both;
  std::lognormal_distribution<> durations(16, 3);
  for (int i = 0; i < 2000; ++i) {
    const auto value = static_cast<uint64_t>(durations(random));
    (i % 3 == 0 ? left : right).record(value);
    both.record(value);
  }
  left.merge(right);
  EXPECT_EQ(left.count(), both.count());
  EXPECT_EQ(left.sum(), both.sum());
  EXPECT_EQ(left.max(), both.max());
  for (double q = 0; q <= 1; q += 0.01) EXPECT_EQ(left.quantile(q), both.quantile(q));
}

TEST(Histogram, CumulativeCountsAreExactAtEdges) {
  Histogram histogram;
  for (const uint64_t value : {kMillisecond - 1, kMillisecond, kMillisecond + 1, 5 * kMillisecond, kSecond, 2 * kHour})
    histogram.record(value);
  const std::array<uint64_t, 4> edges = {kMicrosecond, kMillisecond, 5 * kMillisecond, kSecond};
  std::array<uint64_t, 4> counts{};
  EXPECT_EQ(histogram.cumulative(edges, counts), 6U);
  EXPECT_EQ(counts, (std::array<uint64_t, 4>{0, 2, 4, 5}));
}

TEST(Histogram, LosesNothingToConcurrentWriters) {
  PETS_SEEDED_RANDOM(random);
  constexpr uint32_t kThreads = 4;
  const int records = 2000 * kEffort;
  const auto histogram = std::make_unique<Histogram>();
  std::array<uint64_t, kThreads> sums{}, maxima{};
  uint64_t last_count = 0;
  write_and_read(
      kThreads,
      [&](uint32_t thread) {
        std::mt19937_64 own(random_seed + thread);
        for (int i = 0; i < records; ++i) {
          const uint64_t value = kMillisecond + own() % kSecond;
          histogram->record(value);
          sums[thread] += value;
          maxima[thread] = std::max(maxima[thread], value);
        }
      },
      [&] {
        const uint64_t count = histogram->count();
        EXPECT_GE(count, last_count);
        last_count = count;
        const uint64_t median = histogram->quantile(0.5);
        EXPECT_LE(median, histogram->max());
        EXPECT_TRUE(count == 0 || median != 0);
      });
  EXPECT_EQ(histogram->count(), uint64_t{kThreads} * static_cast<uint64_t>(records));
  EXPECT_EQ(histogram->sum(), std::accumulate(sums.begin(), sums.end(), uint64_t{0}));
  EXPECT_EQ(histogram->max(), *std::max_element(maxima.begin(), maxima.end()));
}

TEST(Histogram, NeverShowsARecordWithoutItsSum) {
  // One value, in a bucket that count() comes to right before sum() is read.
  std::atomic<int> reads{0};
  const auto histogram = std::make_unique<Histogram>();
  write_and_read(
      2,
      [&](uint32_t) {
        for (int i = 0; i < 2'000'000 && reads < 2000 * kEffort; ++i) histogram->record(kHour);  // as many do not wrap the sum
      },
      [&] {
        const uint64_t count = histogram->count();
        EXPECT_GE(histogram->sum(), count * kHour);
        ++reads;
      });
}

TEST(SizeHistogram, CountsUpToPowersOfTwo) {
  SizeHistogram histogram;
  for (const uint32_t size : {0U, 1U, 2U, 3U, 4U, 5U, 65536U, 65537U, UINT32_MAX}) histogram.record(size);
  std::array<uint64_t, SizeHistogram::kEdges> counts{};
  EXPECT_EQ(histogram.cumulative(counts), 9U);
  EXPECT_EQ(histogram.count(), 9U);
  EXPECT_EQ(counts[0], 2U);   // up to 1
  EXPECT_EQ(counts[1], 3U);   // 2
  EXPECT_EQ(counts[2], 5U);   // 4
  EXPECT_EQ(counts[3], 6U);   // 8
  EXPECT_EQ(counts[16], 7U);  // 65536
  EXPECT_EQ(histogram.max(), UINT32_MAX);
  EXPECT_EQ(histogram.sum(), 15U + 65536 + 65537 + uint64_t{UINT32_MAX});
}

TEST(Histogram, RecordingDoesNotAllocate) {
  Histogram histogram;
  SizeHistogram sizes;
  EXPECT_EQ(allocations_of([&] {
              for (uint32_t i = 0; i < 1000; ++i) {
                histogram.record(uint64_t{i} << (i % 50));
                sizes.record(i);
              }
            }),
            0);
}

}  // namespace
}  // namespace pets::serving
