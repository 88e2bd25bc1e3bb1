// What a server counted so far: plain numbers, taken at one moment, for the application to look at or to report.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pets {

/// Durations of many queries. A quantile q is the smallest duration that at least a part q of them did not exceed, within 1 % (durations
/// under a microsecond: within a microsecond; over an hour: reported as the largest). Zeros where count is 0.
struct LatencySummary {
  uint64_t count = 0;
  double mean_seconds = 0;
  double p50_seconds = 0;
  double p95_seconds = 0;
  double p99_seconds = 0;
  double max_seconds = 0;
};

/// Sizes of many batches.
struct SizeSummary {
  uint64_t count = 0;
  double mean = 0;
  uint64_t max = 0;
};

/// Queries by what became of them. Accepted ones end as answered, failed, cancelled or deadline_missed; refused ones were never accepted.
struct QueryCounts {
  uint64_t submitted = 0;  ///< accepted
  uint64_t answered = 0;
  uint64_t failed = 0;  ///< an answer whose status is an error
  uint64_t cancelled = 0;
  uint64_t deadline_missed = 0;
  uint64_t refused = 0;
  uint64_t tokens = 0;  ///< special ones included
};

struct TaskMetricsSnapshot {
  std::string task;  ///< "other": all tasks beyond the number that are counted one by one
  QueryCounts queries;
  LatencySummary wait;     ///< from submission until a batch took the query or it was dropped: all but refused queries
  LatencySummary latency;  ///< from submission to the answer: answered queries
};

/// Counters start at 0 with the server and only grow. A snapshot that is taken while the server runs is not one cut through time: a query
/// may be in one counter and not yet in another.
struct MetricsSnapshot {
  // All tasks together.
  QueryCounts queries;
  LatencySummary wait;
  LatencySummary latency;

  uint64_t queue_length = 0;       ///< queries that wait, as last reported
  uint64_t queries_in_flight = 0;  ///< accepted and not yet ended, those in the queue included
  uint64_t batches = 0;
  SizeSummary batch_queries;
  SizeSummary batch_rows;    ///< tokens, special ones included, and padding
  SizeSummary batch_tasks;   ///< different tasks of one batch
  uint64_t padded_rows = 0;  ///< the part of all rows that was padding
  double busy_seconds = 0;   ///< in which a batch ran
  double predicted_seconds = 0;
  double pet_seconds = 0;  ///< the part of predicted_seconds in operators of single tasks
  double pet_share = 0;    ///< pet_seconds / predicted_seconds; 0 where nothing was predicted

  // The whole process, now; 0 where the system does not tell.
  uint64_t minor_page_faults = 0;
  uint64_t major_page_faults = 0;
  uint64_t resident_bytes = 0;

  std::vector<TaskMetricsSnapshot> tasks;  ///< by first sight, "other" last and only where it was used
};

}  // namespace pets
