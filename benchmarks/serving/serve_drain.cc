// Many queries queued at once: Figure 12 of the PetS paper on this engine.
#include <fmt/core.h>

#include <chrono>
#include <thread>

#include "benchmarks/serving/devices.h"
#include "benchmarks/serving/serve_world.h"

namespace pets::benchmarks {
namespace {

/// Seconds that the scheduler takes to cut the trace's queries into batches, all of them there from the beginning.
double schedule_seconds(const ServeWorld& world, const Trace& trace, const SimulationOptions& simulation) {
  serving::BatchingOptions batching = simulation.batching;
  batching.items = simulation.max_queued;
  serving::Scheduler scheduler(simulation.strategy, batching, world.table_costs());
  for (uint32_t i = 0; i < trace.arrivals.size(); ++i) {
    serving::Item item;
    item.slot = i;
    item.task = trace.arrivals[i].task;
    item.length = item.rows = trace.arrivals[i].tokens;
    item.cost = world.table_costs().task_cost(world.works()[item.task]);
    item.arrival = i;
    scheduler.add(item);
  }
  serving::Scheduler::Batch batch;
  const double start = steady_seconds();
  while (scheduler.next(0, batch)) {
  }
  return steady_seconds() - start;
}

struct Row {
  std::vector<double> seconds, simulated, schedule;
  Figures figures;
};

}  // namespace

void report_drain(ServeWorld& world) {
  const ServeOptions& options = world.options();
  const size_t strategies = world.strategies().size();
  std::vector<std::vector<Row>> rows(options.sigmas.size(), std::vector<Row>(strategies));
  std::vector<std::vector<double>> direct(options.sigmas.size());
  for (uint32_t round = 0; round < options.rounds; ++round) {
    for (size_t at = 0; at < options.sigmas.size(); ++at) {
      TraceOptions made = world.trace_options(options.seed * 1000 + 700'000 + round * 10 + at);
      made.process = Process::kAtOnce;
      made.queries = options.drain_queries;
      made.sigma = options.sigmas[at];
      const Trace trace = make_trace(made);
      std::vector<ServeWorld::Ratio> ratios;
      direct[at].push_back(world.run_direct(trace).seconds);
      for (size_t s = 0; s < strategies; ++s) {
        Row& row = rows[at][s];
        const SimulationOptions simulation = world.simulation(world.strategies()[s]);
        world.calibrate(made.seed + 100'000 + s, options.calibrate_seconds / static_cast<double>(strategies), ratios);
        row.seconds.push_back(run_drain(world.server(simulation.strategy), world, trace));
        row.schedule.push_back(schedule_seconds(world, trace, simulation));
      }
      const DeviceModel device = world.device(ratios, made.seed);
      for (size_t s = 0; s < strategies; ++s) {
        Row& row = rows[at][s];
        row.figures = simulate(trace, world.works(), world.table_costs(), device, world.simulation(world.strategies()[s])).figures;
        row.simulated.push_back(row.figures.seconds);
      }
    }
  }
  fmt::print(
      "\n{} queries queued at once, {} tasks, lengths N({}, sigma), Zipf {}: seconds until the last answer, medians of {} rounds; batches, "
      "rows "
      "and padding as simulated.\n\n"
      "| sigma | strategy | s | simulated s | full batches in order / s | scheduling ms | scheduling share | batches | rows a batch | "
      "padding |\n"
      "|---|---|---|---|---|---|---|---|---|---|\n",
      options.drain_queries, options.made.tasks, options.made.length, options.made.zipf, options.rounds);
  for (size_t at = 0; at < options.sigmas.size(); ++at) {
    for (size_t s = 0; s < strategies; ++s) {
      const Row& row = rows[at][s];
      const double seconds = median(row.seconds), simulated = median(row.simulated), schedule = median(row.schedule);
      fmt::print("| {} | {} | {:.3f} | {:.3f} ({:+.0f} %) | {:.3f} | {:.2f} | {:.2f} % | {} | {:.0f} | {:.1f} % |\n", options.sigmas[at],
                 strategy_name(world.strategies()[s]), seconds, simulated, (simulated / seconds - 1) * 100, median(direct[at]) / seconds,
                 schedule * 1e3, schedule / seconds * 100, row.figures.batches, row.figures.batch_rows, row.figures.padding_share * 100);
    }
  }
}

}  // namespace pets::benchmarks
