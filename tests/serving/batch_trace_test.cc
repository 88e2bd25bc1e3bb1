#include "runtime/serving/batch_trace.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/serving/serving_test.h"

namespace pets::serving {
namespace {

/// All fields follow from the number, so that a torn record shows.
BatchRecord record_of(uint64_t number) {
  const auto n = static_cast<uint32_t>(number);
  return {number * 1000,
          number * 1000 + 500,
          n,
          n + 1,
          n + 2,
          n + 3,
          n + 4,
          static_cast<double>(number) * 1e-6,
          static_cast<double>(number) * 1e-7};
}

void expect_record(const BatchRecord& found, uint64_t number) {
  const BatchRecord expected = record_of(number);
  EXPECT_EQ(found.start_ns, expected.start_ns);
  EXPECT_EQ(found.end_ns, expected.end_ns);
  EXPECT_EQ(found.queries, expected.queries);
  EXPECT_EQ(found.rows, expected.rows);
  EXPECT_EQ(found.padded_rows, expected.padded_rows);
  EXPECT_EQ(found.tasks, expected.tasks);
  EXPECT_EQ(found.queue_length, expected.queue_length);
  EXPECT_EQ(found.predicted_seconds, expected.predicted_seconds);
  EXPECT_EQ(found.pet_seconds, expected.pet_seconds);
}

TEST(BatchTrace, KeepsTheLastRecordsOldestFirst) {
  BatchTrace trace = make_trace(5);
  EXPECT_TRUE(trace.records().empty());
  for (uint64_t n = 1; n <= 23; ++n) {
    trace.record(record_of(n));
    const std::vector<BatchRecord> records = trace.records();
    ASSERT_EQ(records.size(), std::min<uint64_t>(n, 5));
    for (size_t i = 0; i < records.size(); ++i) expect_record(records[i], n - records.size() + 1 + i);
  }
}

TEST(BatchTrace, KeepsExtremeValues) {
  BatchTrace trace = make_trace(1);
  constexpr uint32_t kMax = UINT32_MAX;
  trace.record({UINT64_MAX, UINT64_MAX, kMax, kMax, kMax, kMax, kMax, std::numeric_limits<double>::infinity(), -0.0});
  const std::vector<BatchRecord> records = trace.records();
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].start_ns, UINT64_MAX);
  EXPECT_EQ(records[0].queries, kMax);
  EXPECT_EQ(records[0].rows, kMax);
  EXPECT_EQ(records[0].padded_rows, kMax);
  EXPECT_EQ(records[0].tasks, kMax);
  EXPECT_EQ(records[0].queue_length, kMax);
  EXPECT_TRUE(std::isinf(records[0].predicted_seconds));
  EXPECT_TRUE(std::signbit(records[0].pet_seconds));
}

TEST(BatchTrace, CostsNothingWhereItIsOff) {
  EXPECT_EQ(allocations_of([] {
              BatchTrace trace = make_trace(0);
              trace.record(record_of(1));
              EXPECT_EQ(trace.bytes(), 0U);
              EXPECT_TRUE(trace.records().empty());
            }),
            0);
}

TEST(BatchTrace, RefusesACapacityThatIsTooLarge) {
  const auto trace = BatchTrace::create(BatchTrace::kMaxCapacity + 1);
  EXPECT_EQ(trace.status().code(), ErrorCode::kInvalidArgument);
}

TEST(BatchTrace, RecordingDoesNotAllocate) {
  BatchTrace trace = make_trace(16);
  EXPECT_EQ(trace.bytes(), 16U * 64);
  EXPECT_EQ(allocations_of([&] {
              for (uint64_t n = 0; n < 100; ++n) trace.record(record_of(n));
            }),
            0);
}

TEST(BatchTrace, AReaderSeesWholeRecordsInOrderWhileTheyAreOverwritten) {
  for (const uint32_t capacity : {1U, 3U, 64U}) {
    BatchTrace trace = make_trace(capacity);
    // The writer goes on until the reader has met it often: without the versions, hundreds of its reads would be torn.
    const int enough = 2000 * kEffort;
    std::atomic<int> reads{0};
    uint64_t written = 0;
    write_and_read(
        1,
        [&](uint32_t) {
          while (reads < enough || written < capacity) trace.record(record_of(++written));
        },
        [&] {
          const std::vector<BatchRecord> records = trace.records();
          ++reads;
          EXPECT_LE(records.size(), capacity);
          for (size_t i = 0; i < records.size(); ++i) {
            expect_record(records[i], records[i].start_ns / 1000);
            EXPECT_TRUE(i == 0 || records[i].start_ns > records[i - 1].start_ns);
          }
        });
    const std::vector<BatchRecord> last = trace.records();
    ASSERT_EQ(last.size(), capacity);
    expect_record(last.back(), written);
  }
}

TEST(ChromeTrace, HasACompleteEventAndACounterForEveryBatch) {
  const BatchRecord records[] = {{5'000'000'000, 5'001'234'567, 3, 40, 8, 2, 7, 0.0015, 0.0001},
                                 {5'002'000'050, 5'002'000'050, 1, 2, 0, 1, 0, 0, 0}};
  const auto json = nlohmann::json::parse(chrome_trace(records));
  std::vector<nlohmann::json> complete, counters;
  for (const auto& event : json.at("traceEvents")) {
    const std::string phase = event.at("ph");
    EXPECT_TRUE(event.at("pid").is_number());
    if (phase == "X") complete.push_back(event);
    if (phase == "C") counters.push_back(event);
    EXPECT_TRUE(phase != "M" || event.at("args").at("name").is_string());
  }
  ASSERT_EQ(complete.size(), 2U);
  ASSERT_EQ(counters.size(), 2U);
  EXPECT_EQ(complete[0].at("ts"), 0);
  EXPECT_EQ(complete[0].at("dur"), 1234.567);
  EXPECT_EQ(complete[0].at("args"),
            nlohmann::json::parse(R"({"queries":3,"rows":40,"padded_rows":8,"tasks":2,"predicted_us":1500,"pet_us":100})"));
  EXPECT_EQ(complete[1].at("ts"), 2000.05);
  EXPECT_EQ(complete[1].at("dur"), 0);
  EXPECT_EQ(counters[0].at("ts"), 0);
  EXPECT_EQ(counters[0].at("args").at("queries"), 7);
  EXPECT_EQ(counters[1].at("args").at("queries"), 0);
}

TEST(ChromeTrace, IsJsonWithoutRecordsAndWithAbsurdOnes) {
  EXPECT_TRUE(nlohmann::json::parse(chrome_trace({})).at("traceEvents").is_array());
  constexpr uint32_t kMax = UINT32_MAX;
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  const BatchRecord records[] = {{10, 5, 0, 0, 0, 0, 0, nan, -1}, {0, UINT64_MAX, kMax, kMax, kMax, kMax, kMax, infinity, -infinity}};
  const auto json = nlohmann::json::parse(chrome_trace(records));
  for (const auto& event : json.at("traceEvents")) {
    EXPECT_GE(event.value("ts", 0.0), 0);
    EXPECT_GE(event.value("dur", 0.0), 0);
  }
}

}  // namespace
}  // namespace pets::serving
