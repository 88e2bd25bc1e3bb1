// Arrival traces: the same on every platform, with the moments that they are to have; files with their errors.
#include "benchmarks/serving/traces.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "benchmarks/serving/random.h"

namespace pets::benchmarks {
namespace {

TEST(Random, FollowsXoshiroAndItsLogarithmTheLibrary) {
  // The reference implementation's first numbers from the state 1, 2, 3, 4 cannot be reached by a seed; these hold the seeded ones fast.
  Random random(1);
  const uint64_t first = random.next(), second = random.next();
  EXPECT_EQ(first, 0xcfc5d07f6f03c29bULL);
  EXPECT_EQ(second, 0xbf424132963fe08dULL);
  for (const double x : {1e-300, 1e-17, 0.1, 0.7, 1.0, 1.4142135, 2.0, 3.7, 1e10}) {
    EXPECT_NEAR(portable_log(x), std::log(x), 4e-16 * std::max(std::abs(std::log(x)), 1.0)) << x;
  }
  for (const double x : {-600.0, -3.3, -0.2, 0.0, 1e-9, 0.5, 12.25, 600.0}) {
    EXPECT_NEAR(portable_exp(x) / std::exp(x), 1, 2e-13) << x;
  }
}

TEST(Random, NormalAndExponentialHaveTheirMoments) {
  Random random(7);
  constexpr int kDraws = 400'000;
  double sum = 0, squares = 0, fourths = 0, exponential = 0, exponential_squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double z = random.normal(), e = random.exponential();
    sum += z;
    squares += z * z;
    fourths += z * z * z * z;
    exponential += e;
    exponential_squares += e * e;
  }
  const double deviation = 1 / std::sqrt(kDraws);  // of the mean
  EXPECT_NEAR(sum / kDraws, 0, 5 * deviation);
  EXPECT_NEAR(squares / kDraws, 1, 5 * std::sqrt(2) * deviation);
  EXPECT_NEAR(fourths / kDraws, 3, 5 * std::sqrt(96) * deviation);
  EXPECT_NEAR(exponential / kDraws, 1, 5 * deviation);
  EXPECT_NEAR(exponential_squares / kDraws, 2, 5 * std::sqrt(20) * deviation);
}

TEST(Zipf, DrawsRanksInProportion) {
  for (const double exponent : {0.0, 0.8, 1.2}) {
    constexpr uint32_t kTasks = 50, kDraws = 200'000;
    const Zipf zipf(kTasks, exponent);
    Random random(11);
    std::vector<uint32_t> counts(kTasks);
    for (uint32_t i = 0; i < kDraws; ++i) ++counts[zipf.draw(random)];
    double sum = 0, chi = 0;
    for (uint32_t rank = 0; rank < kTasks; ++rank) sum += std::pow(rank + 1.0, -exponent);
    for (uint32_t rank = 0; rank < kTasks; ++rank) {
      const double expected = kDraws * std::pow(rank + 1.0, -exponent) / sum;
      chi += (counts[rank] - expected) * (counts[rank] - expected) / expected;
    }
    // Chi-squared with 49 degrees of freedom: mean 49, deviation 9.9.
    EXPECT_LT(chi, 49 + 5 * 9.9) << exponent;
    EXPECT_GT(chi, 49 - 4 * 9.9) << exponent;
  }
}

TEST(Traces, PoissonHasItsRateAndIndependentGaps) {
  TraceOptions options;
  options.rate = 200;
  options.seconds = 1000;
  const Trace trace = make_trace(options);
  const double n = static_cast<double>(trace.arrivals.size());
  EXPECT_NEAR(n, 200'000, 5 * std::sqrt(200'000));
  // Counts in windows of a second have the mean as their variance; neighbours do not correlate.
  std::vector<double> counts(1000);
  for (const Arrival& arrival : trace.arrivals) ++counts[static_cast<size_t>(arrival.seconds)];
  double variance = 0, covariance = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    variance += (counts[i] - 200) * (counts[i] - 200) / 1000;
    if (i != 0) covariance += (counts[i] - 200) * (counts[i - 1] - 200) / 999;
  }
  EXPECT_NEAR(variance, 200, 5 * 200 * std::sqrt(2.0 / 1000));
  EXPECT_NEAR(covariance, 0, 5 * 200 / std::sqrt(1000.0));
}

TEST(Traces, BurstsKeepTheMeanRateAndSpreadTheCounts) {
  TraceOptions options;
  options.process = Process::kBursty;
  options.rate = 200;
  options.seconds = 4000;
  const Trace trace = make_trace(options);
  // Rate on 400, off 133; the state's autocorrelation falls by exp(-r t), r = 1 / 0.5 + 1 / 1.5. Variance of the count in a time T for
  // T r >> 1: rate T + 2 p (1 - p) (400 - 133)^2 T / r.
  const double r = 1 / 0.5 + 1 / 1.5, spread = 2 * 0.25 * 0.75 * (400 - 400.0 / 3) * (400 - 400.0 / 3) / r;
  EXPECT_NEAR(static_cast<double>(trace.arrivals.size()) / 4000, 200, 5 * std::sqrt((200 + spread) / 4000));
  std::vector<double> counts(400);
  for (const Arrival& arrival : trace.arrivals) ++counts[static_cast<size_t>(arrival.seconds / 10)];
  double variance = 0;
  for (const double count : counts) variance += (count - 2000) * (count - 2000) / 400;
  const double expected = 10 * 200 + 10 * spread - 2 * spread / 2 / r;  // the last term: the ends of the window
  EXPECT_NEAR(variance / expected, 1, 5 * std::sqrt(2.0 / 400));
}

TEST(Traces, LengthsAreCutAndOtherRatesHaveTheSameQueries) {
  TraceOptions options;
  options.queries = 20'000;
  options.tasks = 10'000;
  options.length = 32;
  options.sigma = 8;
  options.max_length = 40;
  const Trace slow = make_trace(options);
  options.rate *= 10;
  options.process = Process::kBursty;
  const Trace fast = make_trace(options);
  ASSERT_EQ(slow.arrivals.size(), 20'000U);
  double sum = 0;
  uint32_t longest = 0, shortest = 1000;
  for (size_t i = 0; i < slow.arrivals.size(); ++i) {
    EXPECT_EQ(slow.arrivals[i].task, fast.arrivals[i].task);
    EXPECT_EQ(slow.arrivals[i].tokens, fast.arrivals[i].tokens);
    EXPECT_LT(slow.arrivals[i].task, 10'000U);
    sum += slow.arrivals[i].tokens;
    longest = std::max(longest, slow.arrivals[i].tokens);
    shortest = std::min(shortest, slow.arrivals[i].tokens);
  }
  EXPECT_EQ(longest, 40U);
  EXPECT_GE(shortest, 4U);
  EXPECT_NEAR(sum / 20'000, 31.3, 0.3);  // the part above 40 is cut: -8 (phi(1) - (1 - Phi(1))) = -0.67
}

TEST(Traces, TheSameSeedGivesTheSameBits) {
  TraceOptions options;
  options.process = Process::kBursty;
  options.seconds = 3;
  uint64_t hash = 14695981039346656037ULL;  // FNV-1a
  for (const Arrival& arrival : make_trace(options).arrivals) {
    uint64_t words[] = {0, arrival.task, arrival.tokens};
    std::memcpy(words, &arrival.seconds, sizeof arrival.seconds);
    for (const uint64_t word : words) hash = (hash ^ word) * 1099511628211ULL;
  }
  EXPECT_EQ(hash, 7044047784527855036ULL);
}

TEST(TraceFile, ReadsBackWhatIsWritten) {
  TraceOptions options;
  options.seconds = 1;
  options.deadline_seconds = 0.125;
  Trace trace = make_trace(options);
  trace.arrivals[1].priority = -3;
  const auto read = parse_trace(trace_text(trace), "trace");
  ASSERT_TRUE(read) << read.status().c_str();
  ASSERT_EQ(read->arrivals.size(), trace.arrivals.size());
  for (size_t i = 0; i < trace.arrivals.size(); ++i) {
    EXPECT_EQ(read->arrivals[i].seconds, trace.arrivals[i].seconds);
    EXPECT_EQ(read->arrivals[i].task, trace.arrivals[i].task);
    EXPECT_EQ(read->arrivals[i].tokens, trace.arrivals[i].tokens);
    EXPECT_EQ(read->arrivals[i].priority, trace.arrivals[i].priority);
    EXPECT_EQ(read->arrivals[i].deadline_seconds, 0.125);
  }
}

TEST(TraceFile, NumbersNamesAsTheyCome) {
  const auto read = parse_trace(
      "{\"t\":0,\"task\":\"b\",\"tokens\":3}\r\n\n{\"t\":0,\"task\":\"a\",\"tokens\":3}\n{\"t\":1,\"task\":\"b\",\"tokens\":3}", "x");
  ASSERT_TRUE(read) << read.status().c_str();
  EXPECT_EQ(read->task_names, (std::vector<std::string>{"b", "a"}));
  EXPECT_EQ(read->tasks, 2U);
  EXPECT_EQ(read->arrivals[2].task, 0U);
}

TEST(TraceFile, RefusesBadLinesByNumber) {
  const std::string good = "{\"t\": 1, \"task\": 2, \"tokens\": 3}\n";
  const std::pair<const char*, const char*> cases[] = {
      {"{\"t\": 1, \"task\": 2, \"tokens\": 3", "x.jsonl:2: expected a JSON object with t, task and tokens"},
      {"[]", "x.jsonl:2: expected a JSON object with t, task and tokens"},
      {"{\"task\": 2, \"tokens\": 3}", "x.jsonl:2: t: expected seconds from 0 on, none before the line above, found nothing"},
      {"{\"t\": 0.5, \"task\": 2, \"tokens\": 3}", "x.jsonl:2: t: expected seconds from 0 on, none before the line above, found 0.5"},
      {"{\"t\": 1e999, \"task\": 2, \"tokens\": 3}", "x.jsonl:2: expected a JSON object with t, task and tokens"},
      {"{\"t\": 2, \"task\": -2, \"tokens\": 3}", "x.jsonl:2: task: expected a name or a number, found -2"},
      {"{\"t\": 2, \"task\": \"a\", \"tokens\": 3}", "x.jsonl:2: task: expected a name on all lines, or a number on all, found \"a\""},
      {"{\"t\": 2, \"task\": 10000, \"tokens\": 3}", "x.jsonl:2: task: expected a number below 10000, found 10000"},
      {"{\"t\": 2, \"task\": 1, \"tokens\": 0}", "x.jsonl:2: tokens: expected 1 to 65536, found 0"},
      {"{\"t\": 2, \"task\": 1, \"tokens\": 3.5}", "x.jsonl:2: tokens: expected 1 to 65536, found 3.5"},
      {"{\"t\": 2, \"task\": 1, \"tokens\": 3, \"priority\": 18446744073709551615}",
       "x.jsonl:2: priority: expected a 32-bit integer, found 18446744073709551615"},
      {"{\"t\": 2, \"task\": 1, \"tokens\": 3, \"deadline_ms\": 0}", "x.jsonl:2: deadline_ms: expected milliseconds above 0, found 0"},
      {"{\"t\": 2, \"task\": 1, \"tokens\": 3, \"dead\": 0}",
       "x.jsonl:2: dead: expected one of t, task, tokens, priority, deadline_ms, found 0"}};
  for (const auto& [line, message] : cases) {
    const auto read = parse_trace(good + line, "x.jsonl");
    ASSERT_FALSE(read) << line;
    EXPECT_STREQ(read.status().c_str(), message);
  }
  EXPECT_FALSE(parse_trace("", "x.jsonl"));
}

}  // namespace
}  // namespace pets::benchmarks
