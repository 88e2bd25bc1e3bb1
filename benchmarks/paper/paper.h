// The experiments of "PetS: A Unified Framework for Parameter-Efficient Transformers Serving" (Zhou et al., USENIX ATC 2022) as commands of
// pets-bench, one point a call. Each prints JSON to standard output; run.sh calls them and writes the report.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace pets::benchmarks {

/// What the commands share.
struct PaperOptions {
  std::string shape = "minilm";  ///< minilm, bert-base
  std::string bundles;           ///< folder that paper-bundles has filled; empty: what is needed is made in the temporary folder
  std::string kind = "types";    ///< lora: every task LoRA; types: every PET type in turn
  uint32_t threads = 0;          ///< workers; 0: all processors
  uint32_t tasks = 128;
  uint32_t rounds = 3;  ///< at most
  double seconds = 60;  ///< no round is begun that would end after so many; the first is always run
  uint64_t seed = 1;
  std::string backend = "cpu";  ///< cpu, cuda
  /// Of the base's linear weights, where the bundles are made for the call.
  std::string precision = "fp32";
};

/// Writes the base alone, as a full copy has it, and delta bundles of every size that the experiments use. Random weights.
struct PaperBundlesOptions {
  std::string shape = "minilm";
  std::string folder;
  uint32_t most_tasks = 128;
  std::string precision = "fp32";  ///< of the base's linear weights
};
int run_paper_bundles(const PaperBundlesOptions& options);

/// Figure 7: a mixed batch of all tasks against one call a task, on one session.
struct PaperMixedOptions : PaperOptions {
  uint32_t queries = 1, length = 128;  ///< of a task
};
int run_paper_mixed(const PaperMixedOptions& options);

/// Figure 8, one way of: every task a full model in its own memory, run one after another by all threads ("sequential") or as many at once
/// as there are threads ("parallel"), or one base and a mixed batch ("shared"). One way a process, so that its memory is its own. With the
/// backend cuda the full models lie on the device, and those that run at once have a stream each.
struct PaperCopiesOptions : PaperOptions {
  std::string way = "sequential";
  uint32_t queries = 1, length = 128;  ///< of a task
};
int run_paper_copies(const PaperCopiesOptions& options);

/// Table 5: tasks of each PET type that fit into some memory beside one base, against full copies; then a small memory limit for real.
struct PaperTasksOptions : PaperOptions {
  std::vector<uint64_t> memory = {4'000'000'000, 8'000'000'000};  ///< bytes
  uint32_t checked = 8;                                           ///< tasks that the real limit has room for
};
int run_paper_tasks(const PaperTasksOptions& options);

/// Figure 11, what is left of it on a CPU: one mixed batch, and the same rows of one task without PET, by 1, 2, 4, ... threads.
struct PaperThreadsOptions : PaperOptions {
  uint32_t queries = 128, length = 32;  ///< queries in all, each of a random task
};
int run_paper_threads(const PaperThreadsOptions& options);

/// Figure 11: one mixed batch on a GPU, its PET operators launched for all tasks together or, as the paper does, task by task on 1 to 32
/// streams; and the same rows of one task without PET.
struct PaperStreamsOptions : PaperOptions {
  uint32_t queries = 128, length = 32;  ///< queries in all, each of a random task
};
int run_paper_streams(const PaperStreamsOptions& options);

/// Figure 12: queries that all wait at once, cut into batches by every strategy.
struct BatchingExperimentOptions : PaperOptions {
  uint32_t queries = 1024;
  double mean = 32, sigma = 8;  ///< of the length, rounded down and kept within 1 to 128 as the paper's artifact does
  /// Beside the strategies: queries a batch of `fixed`.
  std::vector<uint32_t> fixed = {8, 16, 32, 64, 128};
  std::string table;       ///< a latency table; empty: fitted for fit_seconds
  std::string keep_table;  ///< without a table: where the fitted one is kept, or found, so that several calls plan with one model
  double fit_seconds = 2;  ///< of that fitting
  uint32_t max_batch_tokens = 8192, max_batch_queries = 256;  ///< of the session: 128 padded queries of 64 tokens fit
  bool json = false;                                          ///< else a table for people
};
int run_batching(const BatchingExperimentOptions& options);

/// Adds the commands to an application, and runs the one that was given.
class PaperCommands {
 public:
  explicit PaperCommands(CLI::App& app);
  /// Whether one of them was parsed; then `status` is what it returned.
  bool run(int* status);

 private:
  PaperBundlesOptions bundles_;
  PaperMixedOptions mixed_;
  PaperCopiesOptions copies_;
  PaperTasksOptions tasks_;
  PaperThreadsOptions threads_;
  PaperStreamsOptions streams_;
  BatchingExperimentOptions batching_;
  CLI::App *bundles_command_, *mixed_command_, *copies_command_, *tasks_command_, *threads_command_, *streams_command_, *batching_command_;
};

}  // namespace pets::benchmarks
