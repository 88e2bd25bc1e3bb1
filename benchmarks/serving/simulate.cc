#include "benchmarks/serving/simulate.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "benchmarks/serving/devices.h"
#include "benchmarks/serving/simulator.h"

#include "runtime/platform/check.h"

namespace pets::benchmarks {
namespace {

Result<serving::LatencyTable> table_of(const std::string& path, const std::string& made_up) {
  if (path.empty()) return made_up_table(made_up);
  return serving::read_latency_table(path.c_str());
}

Overflow overflow_named(const std::string& name) {
  return name == "fail" ? Overflow::kFail : name == "shed" ? Overflow::kShedLowest : Overflow::kBlock;
}

Status run(const SimulateOptions& options) {
  PETS_ASSIGN_OR_RETURN(const serving::LatencyTable device_table, table_of(options.table, options.made_up));
  serving::LatencyTable planner_table = device_table;
  if (!options.planner_table.empty()) {
    PETS_ASSIGN_OR_RETURN(planner_table, serving::read_latency_table(options.planner_table.c_str()));
  }
  const serving::CostModel planner(planner_table.alpha, planner_table.beta);
  const DeviceModel device{serving::CostModel(device_table.alpha, device_table.beta),
                           options.noise > 0 ? log_normal_noise(options.noise) : std::vector<double>(),
                           options.made.seed,
                           {}};

  SimulationOptions simulation;
  simulation.batching.limits = {options.max_batch_tokens, options.max_batch_queries};
  simulation.batching.fixed_queries = options.fixed_queries;
  simulation.batching.patience_seconds = options.patience_seconds;
  simulation.max_queued = options.max_queued;
  simulation.max_queued_tokens = options.max_queued_tokens;
  simulation.overflow = overflow_named(options.overflow);
  simulation.batch_overhead_seconds = options.overhead_us * 1e-6;
  simulation.outstanding = options.outstanding;

  Trace trace;
  TraceOptions made = options.made;
  made.max_length = std::min({made.max_length, device_table.key.positions, options.max_batch_tokens});
  made.min_length = std::min(made.min_length, made.max_length);
  made.deadline_seconds = options.deadline_ms / 1e3;
  made.rate = options.rate;
  double full_rate = 0;
  std::vector<serving::TaskWork> works;
  const bool from_file = !parse_process(options.trace, &made.process);
  if (from_file) {
    PETS_ASSIGN_OR_RETURN(trace, read_trace(options.trace.c_str()));
    works = usual_works(trace.tasks, device_table.key);
    full_rate = capacity(trace, works, device.costs, simulation.batching.limits);
  } else {
    works = usual_works(made.tasks, device_table.key);
    TraceOptions sample = made;  // the same queries, at once
    sample.process = Process::kAtOnce;
    sample.queries = 4096;
    full_rate = capacity(make_trace(sample), works, device.costs, simulation.batching.limits);
    if (made.rate == 0) made.rate = options.load * full_rate;
    PETS_RETURN_IF_ERROR(check_trace_options(made));
    trace = make_trace(made);
  }
  if (!options.write_trace.empty()) {
    std::ofstream file(options.write_trace, std::ios::binary);
    if (!(file << trace_text(trace) << std::flush)) {
      return Status::error(ErrorCode::kIo, "%s: cannot be written", options.write_trace.c_str());
    }
  }

  fmt::print("{}: {} queries, {} tokens, {} tasks; full batches of {} rows: {:.1f} queries/s", options.trace, trace.arrivals.size(),
             trace.tokens(), trace.tasks, device.costs.best_rows(options.max_batch_tokens), full_rate);
  if (!from_file && options.outstanding == 0) fmt::print("; rate {:.1f} queries/s, load {:.2f}", made.rate, made.rate / full_rate);
  fmt::print("; device {}, overhead {} us a batch, noise {}, seed {}\n\n", options.table.empty() ? options.made_up : options.table,
             options.overhead_us, options.noise, made.seed);
  fmt::print(
      "| strategy | queries/s | mean ms | p50 ms | p95 ms | p99 ms | misses | refused, shed | batches | rows a batch | padding | busy | "
      "simulated in s |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
  for (const std::string& name : options.strategies) {
    if (!parse_strategy(name, &simulation.strategy)) {
      return Status::error(ErrorCode::kInvalidArgument, "unknown strategy '%s'", name.c_str());
    }
    const auto start = std::chrono::steady_clock::now();
    const Figures figures = simulate(trace, works, planner, device, simulation).figures;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    fmt::print("| {} | {:.1f} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.3f} % | {} | {} | {:.0f} | {:.1f} % | {:.1f} % | {:.2f} |\n", name,
               figures.throughput, figures.mean * 1e3, figures.p50 * 1e3, figures.p95 * 1e3, figures.p99 * 1e3, figures.miss_share() * 100,
               figures.refused + figures.shed, figures.batches, figures.batch_rows, figures.padding_share * 100, figures.busy_share * 100,
               seconds);
  }
  return Status::ok();
}

}  // namespace

bool parse_process(const std::string& name, Process* process) {
  constexpr const char* kNames[] = {"poisson", "bursty", "uniform", "at-once"};
  const auto* found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames)) return false;
  *process = static_cast<Process>(found - std::begin(kNames));
  return true;
}

Status check_trace_options(const TraceOptions& made) {
  if (made.process == Process::kBursty && made.bursts.ratio * made.bursts.on_share > 1) {
    return Status::error(ErrorCode::kInvalidArgument, "bursty: expected --burst-ratio * --burst-share to be at most 1, found %g * %g",
                         made.bursts.ratio, made.bursts.on_share);
  }
  if (made.queries == 0 && made.rate * made.seconds > kMostTraceQueries) {
    return Status::error(ErrorCode::kInvalidArgument, "expected a trace of at most %u queries, found %g a second for %g seconds",
                         kMostTraceQueries, made.rate, made.seconds);
  }
  if (made.process == Process::kAtOnce && made.queries == 0) {
    return Status::error(ErrorCode::kInvalidArgument, "at-once: expected a number of queries (simulate --queries)");
  }
  return Status::ok();
}

int run_simulate(const SimulateOptions& options) {
  const Status status = run(options);
  if (!status) fmt::print(stderr, "pets-bench simulate: {}\n", status.c_str());
  return status ? 0 : 1;
}

}  // namespace pets::benchmarks
