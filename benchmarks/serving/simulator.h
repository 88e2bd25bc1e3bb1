// A server in virtual time: the scheduler and strategies of libpets, a queue, one worker, and a model in the device's place.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "benchmarks/serving/figures.h"
#include "benchmarks/serving/traces.h"

#include "pets/server.h"
#include "runtime/serving/scheduler.h"

namespace pets::benchmarks {

/// What takes the place of the device.
struct DeviceModel {
  serving::CostModel costs;
  /// Each batch takes the model's seconds times one of these, drawn at random; empty: exactly the model's. Measured ratios, or those of
  /// log_normal_noise.
  std::vector<double> noise;
  uint64_t seed = 1;  ///< of the draws
  /// How slow the machine was when: a batch that begins at `seconds` takes the factor of the last moment before it. In order of time; used
  /// in place of `noise` where it is not empty. Tells errors of the device's model from errors of the queue's.
  struct Slowdown {
    double seconds = 0, factor = 1;
  };
  std::vector<Slowdown> slowdowns;
};

/// 1,024 factors of median 1 whose logarithms have the deviation `sigma`.
std::vector<double> log_normal_noise(double sigma);

struct SimulationOptions {
  Strategy strategy = Strategy::kPacked;
  serving::BatchingOptions batching;  ///< `items` is set to `max_queued`
  // As ServerOptions.
  uint32_t max_queued = 4096;
  uint32_t max_queued_tokens = 0;  ///< 0: 64 for each of max_queued
  Overflow overflow = Overflow::kBlock;
  /// What the worker spends beside the device's time, planning and delivery included: added to every batch before its answers.
  double batch_overhead_seconds = 0;
  double query_overhead_seconds = 0;  ///< the same for each query of a batch
  double wake_seconds = 0;            ///< the same for a batch before which the worker had nothing to do: threads wake, caches are cold
  /// Closed loop: the arrivals' times are not used; so many queries are outstanding at every time, each end lets the next one arrive. 0:
  /// open.
  uint32_t outstanding = 0;
};

struct SimulatedBatch {
  double start_seconds = 0, end_seconds = 0;
  uint32_t queries = 0, rows = 0, padded_rows = 0;
};

struct Simulation {
  std::vector<QueryEnd> ends;  ///< by arrival
  std::vector<SimulatedBatch> batches;
  Figures figures;
};

/// Runs a trace. `planner` is the model that the scheduler plans with (it corrects itself as a server's does); `task_works` has the work of
/// every task of the trace. What it takes from the server (runtime/serving/worker.cc, submission.cc):
///
///   - the worker takes a batch whenever it is free and something waits; who arrives during a batch waits for the next;
///   - queries whose deadline has passed when the worker looks are answered without running; who runs is answered, however late;
///   - answers come at the end of the batch; a query's place is free when it is answered, its tokens' pages when its batch begins;
///   - where there is no room: blocked queries enter in order of arrival, refused ones end at once, the waiting query of the lowest
///     priority (of one priority the youngest) makes room.
///
/// What it leaves out: cancelling, fan-outs, the time to read a query, and that answers within a batch come one after another.
Simulation simulate(const Trace& trace, std::span<const serving::TaskWork> task_works, const serving::CostModel& planner,
                    const DeviceModel& device, const SimulationOptions& options);

}  // namespace pets::benchmarks
