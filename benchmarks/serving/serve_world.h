// What the modes of pets-bench serve share: a random bundle, servers of every strategy, a session beside them, one latency table.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "benchmarks/serving/figures.h"
#include "benchmarks/serving/serve.h"
#include "benchmarks/serving/simulator.h"
#include "tests/testing_util/random_model.h"

#include "pets/pets.h"
#include "pets/server.h"
#include "runtime/serving/batch_trace.h"
#include "runtime/serving/latency_table.h"

namespace pets::benchmarks {

/// Seconds of the steady clock.
double steady_seconds();

class ServeWorld {
 public:
  static Result<std::unique_ptr<ServeWorld>> create(const ServeOptions& options);

  const ServeOptions& options() const { return options_; }
  Session& session() { return *session_; }
  Server& server(Strategy strategy) { return *servers_.at(strategy); }
  const std::vector<Strategy>& strategies() const { return strategies_; }
  const std::vector<serving::TaskWork>& works() const { return works_; }
  /// As the servers were made with it.
  const serving::CostModel& table_costs() const { return table_costs_; }
  const serving::LatencyTable& table() const { return table_; }
  serving::BatchLimits limits() const { return {options_.max_batch_tokens, options_.max_batch_queries}; }
  /// Rows of a full batch of the most efficient size.
  uint32_t full_rows() const { return table_costs_.best_rows(options_.max_batch_tokens); }

  /// Options of a trace of the world's tasks and lengths.
  TraceOptions trace_options(uint64_t seed) const;
  /// The query of an arrival; its views hold as long as this object. Tokens are random, by the query's number.
  Query query(const Trace& trace, size_t index) const;

  /// Seconds of full batches of the trace's queries, handed to Session::run one after another, and of each batch in the mean.
  struct Direct {
    double seconds = 0, batch_seconds = 0, queries_per_second = 0;
  };
  Direct run_direct(const Trace& trace);

  /// What a batch took to what the table says.
  struct Ratio {
    uint32_t rows = 0;
    double ratio = 0;
    bool served = false;  ///< by a server, between submissions
  };
  /// Batches of the same tasks and lengths, run on the session for so many seconds. `seed`: of their queries. Where the machine is shared,
  /// its speed drifts: a second call, after what is compared, adds to the batches of the first.
  void calibrate(uint64_t seed, double seconds, std::vector<Ratio>& ratios);
  /// The server's batches since, but for those before which it slept: what waking up costs is measured apart (measure_wake).
  void add_served(Server& server, double since, std::vector<Ratio>& ratios) const;
  /// A device for the simulator: the table, corrected by these, with the deviations that they had. Of batches of about as many rows those
  /// of a server count alone where there are several: threads that submit take time from the workers, which the session's own do not see.
  DeviceModel device(std::span<const Ratio> ratios, uint64_t seed) const;
  /// What a batch takes more if the worker slept before: single queries through the server, after pauses of `mean_gap` seconds in the mean
  /// as independent arrivals have them, against back to back on the session.
  double measure_wake(Server& server, uint64_t seed, double mean_gap);
  SimulationOptions simulation(Strategy strategy) const;

  /// Batches that the server recorded since, whose sums the figures need.
  static BatchSums batches_since(Server& server, double seconds);
  /// The table and, batch by batch since then, how much longer than it says the server's batches took: not a prediction.
  DeviceModel as_it_was(Server& server, double seconds) const;

 private:
  explicit ServeWorld(const ServeOptions& options);
  Status make_model();
  Status make_servers();
  double ratio_of(const serving::BatchRecord& record) const;

  ServeOptions options_;
  testing_util::TemporaryFile bundle_, table_file_;
  std::vector<std::string> names_;
  std::vector<int32_t> ids_;
  uint32_t positions_ = 0;
  std::unique_ptr<ThreadPool> pool_;  // of all sessions: they take turns
  std::shared_ptr<Model> model_;
  std::unique_ptr<Session> session_;
  std::vector<serving::TaskWork> works_;
  serving::LatencyTable table_;
  serving::CostModel table_costs_;
  std::vector<Strategy> strategies_;
  std::map<Strategy, std::unique_ptr<Server>> servers_;
};

/// Runs the trace open loop: arrivals at their times whatever the server does, latency from the intended arrival. Figures of the answers;
/// `start` is when the trace began.
Figures run_open(Server& server, const ServeWorld& world, const Trace& trace, double& start);
/// Closed loop: producers with so many outstanding queries each. Seconds until all are answered.
double run_closed(Server& server, const ServeWorld& world, const Trace& trace, uint32_t producers, uint32_t outstanding);
/// All at once: seconds from the first batch to the last answer.
double run_drain(Server& server, const ServeWorld& world, const Trace& trace);

/// The modes; each prints its tables.
void report_open(ServeWorld& world);
void report_closed(ServeWorld& world);
void report_drain(ServeWorld& world);
/// By the first strategy's server.
void report_lone(ServeWorld& world);

}  // namespace pets::benchmarks
