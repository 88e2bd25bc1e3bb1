// The experiments of pets-bench. Each prints one table to standard output.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tests/testing_util/random_model.h"

namespace pets {
class Session;
struct Query;
}  // namespace pets

namespace pets::benchmarks {

struct MixedBatchOptions {
  std::string shape = "minilm";  ///< minilm, bert-base
  uint32_t tasks = 32;
  uint32_t queries_per_task = 2;
  uint32_t length = 32;  ///< tokens a query
  double sigma = 0;      ///< of the length; 0: all equal
  uint32_t threads = 0;
  uint32_t rounds = 9;
  converter::Precision precision = converter::Precision::kFloat32;  ///< of the base
  uint64_t seed = 1;
  std::string backend = "cpu";  ///< cpu, cuda: shares of a peak are the CPU's and left out elsewhere
  uint32_t calls = 0;           ///< rounds in which every variant is also run by one call a task
  std::string only;             ///< of the rows after the base alone, those whose name has this in it
};

/// Tokens/s of the base alone, of each PET type, and of a mix of all, on the same packed tokens, beside the measured FMA peak: interleaved
/// rounds, medians. On a device: the CPU time of the thread that runs a batch, without waiting, instead of shares of a peak.
int run_mixed_batch(const MixedBatchOptions& options);

struct LoadTimeOptions {
  uint32_t tasks = 128;
  uint32_t rounds = 15;
};

/// A bundle of many LoRA tasks on MiniLM's shape: its size against base + deltas, and the time to map, validate and be ready, pages warm.
int run_load_time(const LoadTimeOptions& options);

struct WorkloadOptions {
  std::string bundle;
  std::string workloads;  ///< JSON: {"<name>": {"tasks": ["<task>" a query], "ids": [[token ids] a query]}}
  uint32_t threads = 0;
  uint32_t max_batch_tokens = 2048;
  uint32_t max_batch_queries = 256;
};

/// Loads a bundle, then answers commands from standard input, one line of JSON each, so that another program can time it between other
/// engines: first what was loaded; `run NAME [TIMES]`: {"seconds": [...]}; `logits NAME`: {"logits": [[...] a query]}; `peaks`:
/// {"fma_gflops", "read_gbs"} of as many threads; `memory`: {"VmRSS", "RssAnon", "RssFile"} in bytes; what fails: {"error"}.
int run_workloads(const WorkloadOptions& options);

struct ProfileOptions {
  std::string bundle, output;
  std::string backend = "cpu";
  uint32_t threads = 0;
  uint32_t max_batch_tokens = 2048;
  double seconds = 100;  ///< to measure for; one round is always whole
  bool verbose = false;  ///< prints every point
};

/// Measures a latency table (runtime/serving/latency_table.h) for a bundle's base on this device: batches without PET operators by rows and
/// lengths, what tasks of every family add by their size and rows, all in interleaved rounds, medians. Prints it, and how well it predicts
/// 20 mixed batches that it was not fitted to.
int run_profile(const ProfileOptions& options);

struct CapacityOptions {
  std::string shape = "minilm";
  uint32_t copies = 4;
};

/// How many tasks of each PET type lie beside one base in the bytes of some full copies: from the sizes of bundles, float32.
int run_capacity(const CapacityOptions& options);

struct GrowthOptions {
  uint32_t threads = 0;
  uint32_t rounds = 5;
};

/// Seconds against tasks (1 to 1,024 LoRA on the same queries), packed tokens, and threads, on MiniLM's shape: JSON on standard output.
int run_growth(const GrowthOptions& options);

struct FanOutOptions {
  std::string shape = "minilm";
  uint32_t tasks = 16;
  uint32_t texts = 8;  ///< of the batches of many
  uint32_t threads = 0;
  uint32_t rounds = 5;
  converter::Precision precision = converter::Precision::kFloat32;
};

/// Many tasks on one text: queries that share memory against the same queries with memory of their own, and against one task, for heads
/// alone, LoRA in the upper half of the layers, and LoRA in all of them: interleaved rounds, medians.
int run_fan_out(const FanOutOptions& options);

/// Seconds of one run. On the CPU one thread is timed by its own clock, so that what else the machine does counts only by the caches it
/// takes.
double run_once(Session& session, std::span<const Query> queries);

testing_util::ModelShape shape_named(const std::string& name);

}  // namespace pets::benchmarks
