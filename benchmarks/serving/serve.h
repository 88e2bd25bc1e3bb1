// pets-bench serve: traces run for real through pets::Server, beside what the simulator says of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "benchmarks/serving/traces.h"

namespace pets::benchmarks {

struct ServeOptions {
  std::vector<std::string> modes = {"open", "closed", "drain"};
  std::string shape = "minilm";  ///< minilm, bert-base
  uint32_t threads = 0;
  std::vector<std::string> strategies = {"packed", "coordinated", "alpha", "beta", "fixed"};
  bool metrics = true;
  std::string table;  ///< a latency table; empty: fitted once, for all servers and the simulator
  double fit_seconds = 1;
  double calibrate_seconds = 2;  ///< before each comparison: batches of other queries, for the simulator's device
  uint32_t rounds = 3;
  uint32_t max_batch_tokens = 2048, max_batch_queries = 256, fixed_queries = 32;
  uint64_t seed = 1;
  // Of the traces: tasks, popularity, lengths.
  TraceOptions made;
  // Open loop.
  std::vector<std::string> traces = {"poisson", "bursty"};  ///< processes, or files
  std::vector<double> loads = {0.3, 0.5, 0.7, 0.9};
  double seconds = 10;          ///< of a trace
  double deadline_batches = 4;  ///< a query's deadline, in full batches
  // Closed loop.
  uint32_t producers = 8;
  std::vector<uint32_t> outstanding = {1, 4, 16, 32};  ///< of each producer
  uint32_t closed_queries = 1024;
  // Drain.
  uint32_t drain_queries = 1024;
  std::vector<double> sigmas = {1, 2, 4, 8};
};

/// Prints a Markdown table for each mode.
int run_serve(const ServeOptions& options);

}  // namespace pets::benchmarks
