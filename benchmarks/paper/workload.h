// What the paper's experiments share: bundles, queries, rounds within a time, memory.
#pragma once

#include <fmt/core.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "benchmarks/backend.h"
#include "benchmarks/paper/paper.h"
#include "tests/testing_util/random_model.h"

#include "pets/pets.h"

namespace pets::benchmarks::paper {

/// Tasks that figure 8 loads: small files of their own, so that the process holds no task that it does not serve.
inline constexpr uint32_t kCopies[] = {2, 4, 8, 16};

testing_util::ModelShape shape_of(const std::string& name);
/// "lora-3": that task of the kind.
std::string task_name(const std::string& kind, uint32_t index);
/// `count` tasks of a kind, the first of "types" LoRA, BitFit, diff-pruning, MaskBert, Houlsby adapters, and so on.
std::vector<converter::PetTask> tasks_of(const converter::BaseModel& base, const std::string& kind, uint32_t count);
converter::PetTask task_of(const converter::BaseModel& base, testing_util::PetKind kind, const std::string& name, uint64_t seed);
/// The base with one task that changes nothing, "base": a full copy. precision: as the command line names it.
void write_full(const std::string& path, const converter::BaseModel& base, const std::string& precision = "fp32");
/// As loading a base for these options is to be done.
ModelOptions model_options(const PaperOptions& options);

inline std::string full_path(const std::string& folder) { return folder + "/full.pets"; }
inline std::string delta_path(const std::string& folder, const std::string& kind, uint32_t count) {
  return fmt::format("{}/{}-{}.pets", folder, kind, count);
}

/// The error as an exception: a benchmark ends with one line.
inline void check(const Status& status) {
  if (!status) throw std::runtime_error(status.c_str());
}
template <typename T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(result.status().c_str());
  return std::move(result).value();
}

/// A base and at least `tasks` tasks of the kind, from the folder or made for this call.
class Loaded {
 public:
  Loaded(const PaperOptions& options, uint32_t tasks);
  const std::shared_ptr<Model>& model() const { return model_; }

 private:
  std::optional<testing_util::TemporaryFile> full_, delta_;
  std::shared_ptr<Model> model_;
};

/// Token ids and tasks' names, and the queries that look at them.
class Asked {
 public:
  Asked() = default;
  Asked(const Asked&) = delete;
  Asked& operator=(const Asked&) = delete;
  void add(std::string task, std::vector<int32_t> ids);
  /// After the last `add`.
  const std::vector<Query>& queries();
  const std::vector<std::vector<int32_t>>& ids() const { return ids_; }
  const std::vector<std::string>& tasks() const { return tasks_; }
  size_t tokens() const;

 private:
  std::vector<std::string> tasks_;
  std::vector<std::vector<int32_t>> ids_;
  std::vector<Query> queries_;
};

template <typename Random>
std::vector<int32_t> random_ids(uint32_t length, uint32_t vocabulary, Random& random) {
  std::vector<int32_t> ids(length);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % vocabulary);
  return ids;
}

/// `queries` random texts of `length` tokens, each asked of a random task in `mixed` and of the base alone in `base`.
void ask_random_tasks(const PaperOptions& options, uint32_t queries, uint32_t length, Asked& mixed, Asked& base);

using Clock = std::chrono::steady_clock;
inline double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Seconds of one run of the session; a query that fails is an exception.
double seconds_of(Session& session, std::span<const Query> queries);

/// Calls round(n) up to `rounds` times, but begins none that would end after `seconds`.
template <typename Round>
void rounds_within(uint32_t rounds, double seconds, const Round& round) {
  const auto start = Clock::now();
  for (uint32_t n = 0; n < rounds; ++n) {
    if (n != 0 && since(start) * (n + 1) / n > seconds) break;
    round(n);
  }
}

/// VmRSS, RssAnon, ... of this process in bytes; MemAvailable of the machine. 0 where the system does not say.
uint64_t process_bytes(const std::string& key);
uint64_t available_bytes();

/// Runs a command's body; an exception becomes one line and 1.
template <typename Body>
int reported(const char* command, const Body& body) {
  try {
    body();
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "pets-bench {}: {}\n", command, error.what());
    return 1;
  }
}

}  // namespace pets::benchmarks::paper
