// What a run of a trace says, simulated or measured: the same sums over the same ends.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "benchmarks/serving/traces.h"

namespace pets::benchmarks {

/// How a query ended. Every query has exactly one end.
enum class Outcome : uint8_t { kNone, kAnswered, kExpired, kRefused, kShed };

struct QueryEnd {
  Outcome outcome = Outcome::kNone;
  double arrival_seconds = 0;  ///< intended: a late generator or a full queue is part of the latency
  double seconds = 0;          ///< when it ended
};

struct BatchSums {
  uint64_t batches = 0, queries = 0, rows = 0, padded_rows = 0;
  double busy_seconds = 0;
};

struct Figures {
  uint64_t queries = 0, answered = 0, expired = 0, late = 0, refused = 0, shed = 0;
  double throughput = 0;                                 ///< answered queries a second, from the first arrival to the last end
  double mean = 0, p50 = 0, p95 = 0, p99 = 0, most = 0;  ///< latency of answered queries in seconds, exact
  double seconds = 0;                                    ///< from the first arrival to the last end
  uint64_t batches = 0;
  double batch_rows = 0, batch_queries = 0;  ///< means
  double padding_share = 0, busy_share = 0;

  /// Expired, or answered after its deadline; of all queries.
  double miss_share() const { return queries == 0 ? 0 : static_cast<double>(expired + late) / static_cast<double>(queries); }
};

/// The smallest value that at least a part `q` of them do not exceed. `sorted` ascends and is not empty.
double quantile(std::span<const double> sorted, double q);
double median(std::vector<double> values);

/// `ends[i]` is of `trace.arrivals[i]`.
Figures summarize(const Trace& trace, std::span<const QueryEnd> ends, const BatchSums& batches);

/// The median of each figure.
Figures medians(std::span<const Figures> rounds);

}  // namespace pets::benchmarks
