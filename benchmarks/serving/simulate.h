// pets-bench simulate.
#pragma once

#include <string>
#include <vector>

#include "benchmarks/serving/traces.h"

#include "pets/server.h"

namespace pets::benchmarks {

struct SimulateOptions {
  std::string table;  ///< a latency table; empty: made_up
  std::string made_up = "cpu";
  std::string planner_table;  ///< what the scheduler plans with; empty: the device's own
  std::vector<std::string> strategies = {"packed", "coordinated", "alpha", "beta", "fixed"};
  std::string trace = "poisson";  ///< poisson, bursty, uniform, at-once, or a file
  TraceOptions made;              ///< of a trace that is no file
  double load = 0.7;              ///< of what full batches answer; used where `rate` is 0
  double rate = 0;
  double deadline_ms = 0;
  double noise = 0;  ///< deviation of the logarithm
  double overhead_us = 50;
  uint32_t max_batch_tokens = 2048, max_batch_queries = 256, fixed_queries = 32;
  uint32_t max_queued = 4096, max_queued_tokens = 0;
  std::string overflow = "block";
  double patience_seconds = 0;
  uint32_t outstanding = 0;
  std::string write_trace;  ///< a file for the trace; empty: none
};

/// Prints a table of strategies side by side.
int run_simulate(const SimulateOptions& options);

/// "poisson", ...; false where there is none of that name.
bool parse_process(const std::string& name, Process* process);
/// An error where make_trace cannot keep what the options say: bursts above the mean rate, everything at once without a number of queries,
/// or more than kMostTraceQueries of them.
Status check_trace_options(const TraceOptions& made);

}  // namespace pets::benchmarks
