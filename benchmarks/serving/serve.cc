#include "benchmarks/serving/serve.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "benchmarks/median.h"
#include "benchmarks/serving/serve_world.h"
#include "benchmarks/serving/simulate.h"

#include "runtime/platform/check.h"

namespace pets::benchmarks {
namespace {

/// The pool's workers spin for a while after a batch, and would be in the way of what is measured next.
void rest() { std::this_thread::sleep_for(std::chrono::milliseconds(150)); }

/// Of a trace and a load: each strategy's figures by round.
struct OpenCase {
  std::string trace;
  double load = 0;
  std::vector<double> rates, full_ms;
  std::vector<std::vector<Figures>> measured, simulated, replayed;  // [strategy][round]
};

double percent_off(double measured, double simulated) { return measured > 0 ? (simulated / measured - 1) * 100 : 0; }

std::string compared(double measured, double simulated, double replayed, double scale) {
  return fmt::format("{:.1f} / {:.1f} ({:+.0f} %) / {:.1f} ({:+.0f} %)", measured * scale, simulated * scale,
                     percent_off(measured, simulated), replayed * scale, percent_off(measured, replayed));
}

/// The median of what was off in each round: rounds have traces of their own.
double median_off(std::span<const double> measured, std::span<const double> simulated) {
  std::vector<double> off;
  for (size_t round = 0; round < measured.size(); ++round) off.push_back(percent_off(measured[round], simulated[round]));
  return median(std::move(off));
}

double median_off(std::span<const Figures> measured, std::span<const Figures> simulated, double Figures::*field) {
  const auto values = [field](std::span<const Figures> rounds) {
    std::vector<double> of_rounds;
    for (const Figures& round : rounds) of_rounds.push_back(round.*field);
    return of_rounds;
  };
  return median_off(values(measured), values(simulated));
}

Status run(const ServeOptions& options) {
  fmt::print(stderr, "making a bundle of {} tasks\n", options.made.tasks);
  PETS_ASSIGN_OR_RETURN(const std::unique_ptr<ServeWorld> world, ServeWorld::create(options));
  const serving::TableKey& key = world->table().key;
  fmt::print(
      "{} shape, {} tasks of all PET types, Zipf {}, lengths N({}, {}), {} threads, {}, {}; table {} ({} points); full batches of {} "
      "rows; metrics {}; {} rounds; seed {}\n",
      options.shape, options.made.tasks, options.made.zipf, options.made.length, options.made.sigma, key.threads, key.isa, key.device,
      options.table.empty() ? "fitted at load" : options.table, world->table().alpha.size(), world->full_rows(),
      options.metrics ? "on" : "off", options.rounds, options.seed);
  for (const std::string& mode : options.modes) {
    if (mode == "open") report_open(*world);
    if (mode == "closed") report_closed(*world);
    if (mode == "drain") report_drain(*world);
    if (mode == "lone") report_lone(*world);
  }
  return Status::ok();
}

/// The trace of a round at a rate; a file as it is.
Result<Trace> trace_of(const ServeWorld& world, const std::string& name, double rate, double deadline, uint64_t seed) {
  TraceOptions made = world.trace_options(seed);
  if (!parse_process(name, &made.process)) {
    PETS_ASSIGN_OR_RETURN(Trace trace, read_trace(name.c_str()));
    if (trace.tasks <= made.tasks) return trace;
    return Status::error(ErrorCode::kInvalidArgument, "%s: expected at most %u tasks (--tasks), found %u", name.c_str(), made.tasks,
                         trace.tasks);
  }
  made.rate = rate;
  made.seconds = world.options().seconds;
  made.deadline_seconds = deadline;
  PETS_RETURN_IF_ERROR(check_trace_options(made));
  return make_trace(made);
}

/// Other queries of the same process (of a file's rate, independent ones) for so many seconds.
Trace calibration_trace(const ServeWorld& world, const std::string& name, double rate, double seconds, uint64_t seed) {
  TraceOptions made = world.trace_options(seed);
  if (!parse_process(name, &made.process)) made.process = Process::kPoisson;
  made.rate = rate;
  made.seconds = seconds;
  return make_trace(made);
}

}  // namespace

void report_open(ServeWorld& world) {
  const ServeOptions& options = world.options();
  std::vector<OpenCase> cases;
  for (const std::string& trace : options.traces) {
    for (const double load : options.loads) {
      cases.push_back({trace, load, {}, {}, {}, {}, {}});
      cases.back().measured.resize(world.strategies().size());
      cases.back().simulated.resize(world.strategies().size());
      cases.back().replayed.resize(world.strategies().size());
    }
  }
  TraceOptions direct_options = world.trace_options(options.seed + 1'000'003);
  direct_options.process = Process::kAtOnce;
  direct_options.queries = 256;
  const Trace direct_trace = make_trace(direct_options);
  (void)world.run_direct(direct_trace);  // touches pages
  uint64_t seed = options.seed * 1000;
  for (uint32_t round = 0; round < options.rounds; ++round) {
    for (OpenCase& each : cases) {
      rest();
      const ServeWorld::Direct direct = world.run_direct(direct_trace);
      const double rate = each.load * direct.queries_per_second;
      each.rates.push_back(rate);
      each.full_ms.push_back(direct.batch_seconds * 1e3);
      const auto trace = trace_of(world, each.trace, rate, options.deadline_batches * direct.batch_seconds, ++seed);
      if (!trace) {
        fmt::print(stderr, "pets-bench serve: {}\n", trace.status().c_str());
        return;
      }
      for (size_t s = 0; s < world.strategies().size(); ++s) {
        const Strategy strategy = world.strategies()[s];
        Server& server = world.server(strategy);
        SimulationOptions simulation = world.simulation(strategy);
        std::vector<ServeWorld::Ratio> ratios;
        const auto calibrate = [&](uint64_t other) {
          const double part = options.calibrate_seconds / 4;
          world.calibrate(other, part, ratios);
          double since = 0;
          (void)run_open(server, world, calibration_trace(world, each.trace, rate, part, other), since);
          world.add_served(server, since, ratios);
        };
        calibrate(seed + 500'000);
        simulation.wake_seconds = world.measure_wake(server, seed + 600'000, 1 / rate);
        double start = 0;
        each.measured[s].push_back(run_open(server, world, *trace, start));
        const DeviceModel was = world.as_it_was(server, start);
        rest();
        calibrate(seed + 800'000);
        const DeviceModel device = world.device(ratios, seed);
        each.simulated[s].push_back(simulate(*trace, world.works(), device.costs, device, simulation).figures);
        SimulationOptions replay_options = simulation;
        replay_options.wake_seconds = 0;  // the batches' times have it
        each.replayed[s].push_back(simulate(*trace, world.works(), device.costs, was, replay_options).figures);
        const Figures &real = each.measured[s].back(), &virtual_one = each.simulated[s].back(), &replay = each.replayed[s].back();
        fmt::print(stderr, "round {} {} {:.1f} {}: p50 {} p99 {} ms, wake {:.2f} ms\n", round, each.trace, each.load,
                   strategy_name(strategy), compared(real.p50, virtual_one.p50, replay.p50, 1e3),
                   compared(real.p99, virtual_one.p99, replay.p99, 1e3), simulation.wake_seconds * 1e3);
      }
    }
  }
  fmt::print(
      "\nOpen loop, medians of rounds: measured / simulated, fitted on other queries (median of the rounds' differences) / simulated with "
      "every batch as slow as the server's were at that time (median of differences), which is no prediction but shows what is the queue's "
      "and what the device's. A load of 1 is what full batches handed to Session::run answer just before. Misses: expired or answered "
      "late, at {} full batches.\n\n"
      "| trace | load | queries/s offered | full batch ms | strategy | answered/s | mean ms | p50 ms | p95 ms | p99 ms | p99 in full "
      "batches | "
      "misses % | rows a batch | padding % | busy % |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
      options.deadline_batches);
  for (const OpenCase& each : cases) {
    for (size_t s = 0; s < world.strategies().size(); ++s) {
      const Figures real = medians(each.measured[s]), model = medians(each.simulated[s]), replay = medians(each.replayed[s]);
      const double full = median(each.full_ms) / 1e3;
      const auto beside = [&](double Figures::*field, double scale) {
        return fmt::format("{:.1f} / {:.1f} ({:+.0f} %) / {:.1f} ({:+.0f} %)", real.*field * scale, model.*field * scale,
                           median_off(each.measured[s], each.simulated[s], field), replay.*field * scale,
                           median_off(each.measured[s], each.replayed[s], field));
      };
      fmt::print(
          "| {} | {:.2f} | {:.1f} | {:.1f} | {} | {} | {} | {} | {} | {} | {:.2f} | {:.3f} / {:.3f} | {:.0f} / {:.0f} | {:.1f} / {:.1f} | "
          "{:.0f} / {:.0f} |\n",
          each.trace, each.load, median(each.rates), full * 1e3, strategy_name(world.strategies()[s]), beside(&Figures::throughput, 1),
          beside(&Figures::mean, 1e3), beside(&Figures::p50, 1e3), beside(&Figures::p95, 1e3), beside(&Figures::p99, 1e3), real.p99 / full,
          real.miss_share() * 100, model.miss_share() * 100, real.batch_rows, model.batch_rows, real.padding_share * 100,
          model.padding_share * 100, real.busy_share * 100, model.busy_share * 100);
    }
  }
}

void report_closed(ServeWorld& world) {
  const ServeOptions& options = world.options();
  struct Row {
    std::vector<double> rate, ratio, simulated;
  };
  std::vector<std::vector<Row>> rows(world.strategies().size(), std::vector<Row>(options.outstanding.size()));
  std::vector<double> direct_rates;
  for (uint32_t round = 0; round < options.rounds; ++round) {
    TraceOptions made = world.trace_options(options.seed * 1000 + 300'000 + round);
    made.process = Process::kAtOnce;
    made.queries = options.closed_queries;
    const Trace trace = make_trace(made);
    for (size_t s = 0; s < world.strategies().size(); ++s) {
      const Strategy strategy = world.strategies()[s];
      for (size_t n = 0; n < options.outstanding.size(); ++n) {
        std::vector<ServeWorld::Ratio> ratios;
        const auto calibrate = [&](uint64_t other) {
          world.calibrate(other, options.calibrate_seconds / 4, ratios);
          made.seed = other;
          const double since = steady_seconds();
          (void)run_closed(world.server(strategy), world, make_trace(made), options.producers, options.outstanding[n]);
          world.add_served(world.server(strategy), since, ratios);
        };
        calibrate(options.seed * 1000 + 400'000 + round);
        const double count = static_cast<double>(trace.arrivals.size());
        rest();
        const double before = world.run_direct(trace).seconds;
        rest();
        const double seconds = run_closed(world.server(strategy), world, trace, options.producers, options.outstanding[n]);
        rest();
        const double after = world.run_direct(trace).seconds;
        calibrate(options.seed * 1000 + 450'000 + round);
        const DeviceModel device = world.device(ratios, round);
        SimulationOptions simulation = world.simulation(strategy);
        simulation.outstanding = options.producers * options.outstanding[n];
        const Figures figures = simulate(trace, world.works(), device.costs, device, simulation).figures;
        rows[s][n].rate.push_back(count / seconds);
        rows[s][n].ratio.push_back((before + after) / 2 / seconds);
        rows[s][n].simulated.push_back(figures.throughput);
        direct_rates.push_back(count / before);
        direct_rates.push_back(count / after);
      }
    }
  }
  fmt::print(
      "\nClosed loop, {} producers, {} queries; full batches of {} rows handed to Session::run: {:.1f} queries/s. Share: against the full "
      "batches before and after, medians of rounds (of differences, too).\n\n"
      "| strategy | outstanding a producer | queries/s measured / simulated | share of full batches |\n|---|---|---|---|\n",
      options.producers, options.closed_queries, world.full_rows(), median(direct_rates));
  for (size_t s = 0; s < world.strategies().size(); ++s) {
    for (size_t n = 0; n < options.outstanding.size(); ++n) {
      const Row& row = rows[s][n];
      fmt::print("| {} | {} | {:.1f} / {:.1f} ({:+.0f} %) | {:.3f} |\n", strategy_name(world.strategies()[s]), options.outstanding[n],
                 median(row.rate), median(row.simulated), median_off(row.rate, row.simulated), median(row.ratio));
    }
  }
}

int run_serve(const ServeOptions& options) {
  const Status status = run(options);
  if (!status) fmt::print(stderr, "pets-bench serve: {}\n", status.c_str());
  return status ? 0 : 1;
}

}  // namespace pets::benchmarks
