// Devices that were never measured, tasks that were never trained, and what full batches make of them.
#pragma once

#include <string>
#include <vector>

#include "benchmarks/serving/traces.h"

#include "runtime/serving/batching.h"
#include "runtime/serving/latency_table.h"

namespace pets::benchmarks {

/// Names that made_up_table knows.
///
///   cpu     MiniLM on two threads of a Xeon: 0.3 ms a batch and 0.2 ms a row, 0.3 us a pair of a row and a key
///   gpu     2.5 ms up to 512 rows, then 4 us a row: small batches cost what larger ones do
///   linear  0.1 ms a row and nothing else: batches gain nothing
std::vector<std::string> made_up_names();
/// MiniLM's sizes; PET operators as serving::usual_beta has them. The name is one of made_up_names.
serving::LatencyTable made_up_table(const std::string& name);

/// Work of tasks of the usual PET types by turns (LoRA r = 8 on query and value, BitFit, diff-pruning 1 %, MaskBert, IA3, Houlsby 64,
/// Pfeiffer 64, parallel 64) on an encoder of these sizes.
std::vector<serving::TaskWork> usual_works(uint32_t tasks, const serving::TableKey& encoder);

/// The trace's queries in order of arrival, cut into batches that hold as many as fit; within a batch by task, as the engine runs them.
std::vector<std::vector<uint32_t>> full_batches(const Trace& trace, const serving::BatchLimits& limits);
/// Seconds of one such batch without padding.
double batch_seconds(const Trace& trace, std::span<const uint32_t> batch, std::span<const serving::TaskWork> works,
                     const serving::CostModel& costs);
/// Queries a second that full batches of the most efficient size answer, by the model: what a load of 1 means.
double capacity(const Trace& trace, std::span<const serving::TaskWork> works, const serving::CostModel& costs,
                const serving::BatchLimits& limits);

}  // namespace pets::benchmarks
