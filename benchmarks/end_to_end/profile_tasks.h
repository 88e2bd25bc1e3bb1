// The random tasks of pets-bench profile: for the base of a bundle, in a delta bundle beside it.
#pragma once

#include <string>
#include <vector>

#include "tests/testing_util/random_model.h"

#include "runtime/engine/weights.h"
#include "runtime/serving/cost_model.h"

namespace pets::benchmarks {

/// Tasks of one family and size: `count` of them, named "<name>-0", "<name>-1", ...
struct ProfiledTasks {
  serving::OperatorFamily family = serving::OperatorFamily::kBias;
  std::string name;
};

/// Tasks of each family and size: enough that a batch holds several at once, each with its own bytes.
inline constexpr uint32_t kProfiledTasks = 8;
/// Of each PET type for the batches that are predicted.
inline constexpr uint32_t kPredictedTasks = 2;
/// A task without operators.
inline constexpr const char* kUnchangedTask = "profile-unchanged";

/// All families and sizes that are profiled.
std::vector<ProfiledTasks> profiled_tasks();
std::string profiled_task_name(const ProfiledTasks& tasks, uint32_t index);
/// A task of each PET type, those of profiled families mixed.
std::vector<std::string> predicted_task_names();

/// Writes all of these as a delta bundle of the base with that shape and fingerprint. Aborts with a message where it cannot.
void write_profile_tasks(const std::string& path, const engine::BaseWeights& base, const std::string& fingerprint);

}  // namespace pets::benchmarks
