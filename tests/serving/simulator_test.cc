// The simulator: queueing theory where there are formulas, conservation everywhere.
#include "benchmarks/serving/simulator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "benchmarks/median.h"
#include "benchmarks/serving/devices.h"

namespace pets::benchmarks {
namespace {

constexpr Strategy kStrategies[] = {Strategy::kPacked, Strategy::kCoordinated, Strategy::kAlpha, Strategy::kBeta, Strategy::kFixed};

DeviceModel made_up(const std::string& name) {
  const serving::LatencyTable table = made_up_table(name);
  return {serving::CostModel(table.alpha, table.beta), {}, 1, {}};
}

Simulation run(const Trace& trace, const DeviceModel& device, const SimulationOptions& options) {
  return simulate(trace, usual_works(trace.tasks, made_up_table("cpu").key), device.costs, device, options);
}

TraceOptions loaded(const DeviceModel& device, double load) {
  TraceOptions options;
  options.process = Process::kAtOnce;
  options.queries = 2048;
  const Trace sample = make_trace(options);
  options.process = Process::kPoisson;
  options.queries = 0;
  options.rate = load * capacity(sample, usual_works(options.tasks, made_up_table("cpu").key), device.costs, {2048, 256});
  options.seconds = 4000 / options.rate;
  return options;
}

TEST(Simulator, IsDeterministic) {
  DeviceModel device = made_up("cpu");
  device.noise = log_normal_noise(0.2);
  const Trace trace = make_trace(loaded(device, 0.8));
  for (const Strategy strategy : kStrategies) {
    SimulationOptions options;
    options.strategy = strategy;
    const Simulation first = run(trace, device, options), second = run(trace, device, options);
    ASSERT_EQ(first.batches.size(), second.batches.size());
    for (size_t i = 0; i < first.ends.size(); ++i) ASSERT_EQ(first.ends[i].seconds, second.ends[i].seconds) << i;
  }
}

// One query a batch, of constant service time s, Poisson arrivals of rate l: M/D/1, whose mean wait is l s^2 / (2 (1 - l s))
// (Pollaczek-Khinchine).
TEST(Simulator, WaitsAsLongAsPollaczekAndKhinchineSay) {
  const DeviceModel device = made_up("linear");
  for (const double load : {0.3, 0.7, 0.9}) {
    SCOPED_TRACE(load);
    TraceOptions made;
    made.tasks = 1;
    made.sigma = 0;
    made.queries = 200'000;
    serving::BatchShape shape;
    shape.add(32);
    const double service = device.costs.alpha(shape);
    made.rate = load / service;
    const Trace trace = make_trace(made);
    for (const Strategy strategy : {Strategy::kFixed, Strategy::kPacked}) {
      SimulationOptions options;
      options.strategy = strategy;
      options.batching.limits.queries = 1;
      options.batching.fixed_queries = 1;
      const std::vector<serving::TaskWork> no_work(1);
      const Simulation simulation = simulate(trace, no_work, device.costs, device, options);
      const double wait = simulation.figures.mean - service, expected = load * service / (2 * (1 - load));
      // Waits of neighbours correlate: over about 2 / (1 - load)^2 services.
      const double independent = 200'000 * (1 - load) * (1 - load) / 2;
      EXPECT_NEAR(wait / expected, 1, 6 / std::sqrt(independent) * std::sqrt(1 / load));
      EXPECT_NEAR(simulation.figures.busy_share, load, 0.02);
      EXPECT_EQ(simulation.figures.batches, 200'000U);
    }
  }
}

TEST(Simulator, EveryQueryEndsExactlyOnceWhateverOverflows) {
  const DeviceModel device = made_up("cpu");
  TraceOptions made = loaded(device, 1.5);
  made.process = Process::kBursty;
  Trace trace = make_trace(made);
  for (size_t i = 0; i < trace.arrivals.size(); ++i) {
    trace.arrivals[i].priority = static_cast<int32_t>(i % 3);
    if (i % 5 == 0) trace.arrivals[i].deadline_seconds = 0.3;
  }
  for (const Strategy strategy : kStrategies) {
    for (const Overflow overflow : {Overflow::kBlock, Overflow::kFail, Overflow::kShedLowest}) {
      for (const uint32_t outstanding : {0U, 7U, 500U}) {
        SCOPED_TRACE(std::string(strategy_name(strategy)) + " " + std::to_string(static_cast<int>(overflow)) + " " +
                     std::to_string(outstanding));
        SimulationOptions options;
        options.strategy = strategy;
        options.overflow = overflow;
        options.max_queued = 100;
        options.max_queued_tokens = 4096;
        options.outstanding = outstanding;
        const Simulation simulation = run(trace, device, options);
        const Figures& figures = simulation.figures;
        EXPECT_EQ(figures.answered + figures.expired + figures.refused + figures.shed, trace.arrivals.size());
        for (const QueryEnd& end : simulation.ends) {
          ASSERT_NE(end.outcome, Outcome::kNone);
          ASSERT_GE(end.seconds, end.arrival_seconds);
        }
        uint64_t ran = 0;
        double last = 0;
        for (const SimulatedBatch& batch : simulation.batches) {
          ran += batch.queries;
          ASSERT_GE(batch.start_seconds, last);
          ASSERT_GT(batch.end_seconds, batch.start_seconds);
          ASSERT_LE(batch.rows, 2048U);
          last = batch.end_seconds;
        }
        EXPECT_EQ(ran, figures.answered);
        EXPECT_TRUE(outstanding != 0 || overflow != Overflow::kFail || figures.refused > 0);
        EXPECT_TRUE(outstanding != 0 || overflow != Overflow::kShedLowest || figures.shed > 0);
        EXPECT_TRUE(overflow != Overflow::kBlock || figures.refused + figures.shed == 0);
      }
    }
  }
}

// L = lambda W over the whole run: the integral of the number in the system, summed up from events, is the sum of the latencies.
TEST(Simulator, KeepsLittlesLaw) {
  const DeviceModel device = made_up("gpu");
  const Trace trace = make_trace(loaded(device, 0.7));
  for (const Strategy strategy : kStrategies) {
    SimulationOptions options;
    options.strategy = strategy;
    const Simulation simulation = run(trace, device, options);
    std::vector<std::pair<double, int>> events;
    for (const QueryEnd& end : simulation.ends) {
      events.emplace_back(end.arrival_seconds, 1);
      events.emplace_back(end.seconds, -1);
    }
    std::sort(events.begin(), events.end());
    double area = 0, before = events.front().first;
    int inside = 0;
    for (const auto& [time, change] : events) {
      area += inside * (time - before);
      before = time;
      inside += change;
    }
    EXPECT_EQ(inside, 0);
    const Figures& figures = simulation.figures;
    const double mean_inside = area / figures.seconds;
    EXPECT_NEAR(mean_inside / (figures.throughput * figures.mean), 1, 1e-9);
    EXPECT_LE(figures.p50, figures.p95);
    EXPECT_LE(figures.p95, figures.p99);
    EXPECT_LE(figures.p99, figures.most);
  }
}

TEST(Simulator, AClosedLoopIsAlwaysBusyAndKeepsItsNumberOutstanding) {
  const DeviceModel device = made_up("cpu");
  const Trace trace = make_trace(loaded(device, 0.5));
  SimulationOptions options;
  options.outstanding = 40;
  const Simulation simulation = run(trace, device, options);
  EXPECT_NEAR(simulation.figures.busy_share, 1, 1e-6);
  EXPECT_EQ(simulation.figures.answered, trace.arrivals.size());
  // Little's law with 40 inside, but for the last ones.
  EXPECT_NEAR(simulation.figures.throughput * simulation.figures.mean, 40, 1);
}

TEST(Simulator, TheOverheadIsPartOfEveryBatch) {
  const DeviceModel device = made_up("linear");
  TraceOptions made;
  made.tasks = 1;
  made.sigma = 0;
  made.process = Process::kUniform;
  made.rate = 1;
  made.queries = 10;
  const Trace trace = make_trace(made);
  serving::BatchShape shape;
  shape.add(32);
  SimulationOptions options;
  options.batch_overhead_seconds = 0.25;
  options.query_overhead_seconds = 0.125;
  options.wake_seconds = 0.0625;
  const std::vector<serving::TaskWork> no_work(1);
  EXPECT_NEAR(simulate(trace, no_work, device.costs, device, options).figures.p99, device.costs.alpha(shape) + 0.4375, 1e-6);
}

TEST(Simulator, ASlowMachineIsSlowFromThenOn) {
  DeviceModel device = made_up("linear");
  TraceOptions made;
  made.tasks = 1;
  made.sigma = 0;
  made.process = Process::kUniform;
  made.rate = 1;
  made.queries = 10;
  const Trace trace = make_trace(made);
  device.slowdowns = {{0, 1}, {5.5, 3}};
  serving::BatchShape shape;
  shape.add(32);
  const std::vector<serving::TaskWork> no_work(1);
  const Simulation simulation = simulate(trace, no_work, device.costs, device, {});
  for (const QueryEnd& end : simulation.ends) {
    EXPECT_NEAR(end.seconds - end.arrival_seconds, device.costs.alpha(shape) * (end.arrival_seconds > 5.5 ? 3 : 1), 1e-6);
  }
}

TEST(Figures, QuantilesAreExact) {
  std::vector<double> values;
  for (int i = 1; i <= 200; ++i) values.push_back(i);
  EXPECT_EQ(quantile(values, 0.5), 100);
  EXPECT_EQ(quantile(values, 0.95), 190);
  EXPECT_EQ(quantile(values, 0.99), 198);
  EXPECT_EQ(quantile(values, 0), 1);
  EXPECT_EQ(quantile(values, 1), 200);
  EXPECT_EQ(median({3, 1, 2, 10}), 2.5);
}

}  // namespace
}  // namespace pets::benchmarks
