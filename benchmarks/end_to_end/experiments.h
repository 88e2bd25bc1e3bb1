// The experiments of pets-bench. Each prints one table to standard output.
#pragma once

#include <cstdint>
#include <string>

#include "tests/testing_util/random_model.h"

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
};

/// Tokens/s of the base alone, of each PET type, and of a mix of all, on the same packed tokens, beside the measured FMA peak: interleaved
/// rounds, medians.
int run_mixed_batch(const MixedBatchOptions& options);

struct LoadTimeOptions {
  uint32_t tasks = 128;
  uint32_t rounds = 15;
};

/// A bundle of many LoRA tasks on MiniLM's shape: its size against base + deltas, and the time to map, validate and be ready, pages warm.
int run_load_time(const LoadTimeOptions& options);

testing_util::ModelShape shape_named(const std::string& name);

}  // namespace pets::benchmarks
