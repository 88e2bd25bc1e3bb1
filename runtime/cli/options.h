// The command line of pets-run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pets::cli {

struct Options {
  std::string bundle;
  std::vector<std::string> deltas;
  std::string input = "-";
  bool has_input = false;  ///< --input was given
  std::string output = "-";
  bool logits = false;
  bool table = false;
  std::string backend = "cpu";
  std::string weight_memory = "auto";
  bool device_graphs = true;
  bool device_tf32 = false;
  uint32_t threads = 0;           ///< 0: one per processor
  uint32_t max_batch_tokens = 0;  ///< 0: the library's default
  uint64_t memory_limit = 0;      ///< 0: none
  bool copy = false;
  std::string strategy = "packed";
  uint64_t deadline_ms = 0;  ///< 0: none
  std::string profile;       ///< a latency table; empty: none
  std::string metrics;       ///< where metrics are written; empty: nowhere
  std::string trace;         ///< where the batches' timeline is written; empty: nowhere
  bool self_check = false;
};

inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

/// Fills `options`. Where the program is to end at once (--help, --version, wrong usage) prints what there is to say and returns the exit
/// status.
std::optional<int> parse_options(int argc, char** argv, Options& options);

/// "64M" as bytes: K, M and G are powers of 1024. Nothing where it is no size.
std::optional<uint64_t> parse_size(const std::string& text);

}  // namespace pets::cli
