#include "runtime/cuda/weight_ladder.h"

#include "runtime/platform/check.h"

namespace pets::cuda {
namespace {

constexpr WeightMemory kInPlace[] = {WeightMemory::kHostPageTables, WeightMemory::kRegistered};

/// Why weights cannot be read in place by this step; null where they can.
const char* obstacle(const engine::BaseWeights& base, WeightMemory step, const HostAccess& access) {
  if (!base.row_major) return "the bundle was packed for the cpu; `pets-convert pack --target cuda` packs for this";
  if (step == WeightMemory::kHostPageTables) return access.pageable ? nullptr : "the device does not follow the host's page tables";
  if (!access.registration) return "the device does not take registered memory";
  return access.read_only_registration ? nullptr : "the device does not take memory that is mapped read-only";
}

/// The same where nobody asked for the step. Over a bus every batch would read all weights again, so a device with memory of its own (a
/// card with HMM, a Grace Hopper) gets its copy, once.
const char* reluctance(const engine::BaseWeights& base, WeightMemory step, const HostAccess& access) {
  if (const char* found = obstacle(base, step, access); found != nullptr || access.integrated) return found;
  return "the device has memory of its own, which is faster";
}

Status refuse(WeightMemory step, std::string_view why) {
  return Status::error(ErrorCode::kUnsupported, "backend cuda: weight memory '%s': %s", std::string(weight_memory_name(step)).c_str(),
                       std::string(why).c_str());
}

/// Adds why a step is not taken; what holds for the one before it, too, is said once.
void note(std::string& reasons, WeightMemory step, const std::string& why) {
  const std::string name(weight_memory_name(step));
  if (const std::string before = ": " + why; reasons.ends_with(before)) {
    reasons.insert(reasons.size() - before.size(), ", " + name);
  } else {
    reasons += (reasons.empty() ? "" : "; ") + name + before;
  }
}

}  // namespace

WeightMapping WeightMapping::in_place(const engine::BaseWeights& base) {
  WeightMapping mapping;
  mapping.memory_ = WeightMemory::kHostPageTables;
  mapping.host_ = mapping.device_ = base.segment.data();
  return mapping;
}

Result<WeightMemory> WeightMapping::expected(const engine::BaseWeights& base, WeightMemory wanted, const HostAccess& access) {
  for (const WeightMemory step : kInPlace) {
    if (wanted == WeightMemory::kAuto && reluctance(base, step, access) == nullptr) return step;
    if (wanted != step) continue;
    if (const char* why = obstacle(base, step, access)) return refuse(step, why);
    return step;
  }
  return WeightMemory::kCopy;
}

Result<WeightMapping> WeightMapping::open(const engine::BaseWeights& base, WeightMemory wanted, const HostAccess& access) {
  WeightMapping copy;
  if (wanted == WeightMemory::kCopy) return copy;
  const bool free_choice = wanted == WeightMemory::kAuto;
  for (const WeightMemory step : kInPlace) {
    if (!free_choice && step != wanted) continue;
    const char* why = free_choice ? reluctance(base, step, access) : obstacle(base, step, access);
    if (why != nullptr) {
      if (!free_choice) return refuse(step, why);
      note(copy.reason_, step, why);
      continue;
    }
    WeightMapping mapping = in_place(base);
    mapping.memory_ = step;
    mapping.reason_ = copy.reason_;
    if (step == WeightMemory::kHostPageTables) return mapping;
    Result<RegisteredMemory> registered = RegisteredMemory::create(base.segment);
    if (registered) {
      mapping.registered_ = std::move(*registered);
      mapping.device_ = mapping.registered_.device();
      return mapping;
    }
    if (!free_choice) return refuse(step, registered.status().message());
    note(copy.reason_, step, registered.status().c_str());
  }
  return copy;
}

}  // namespace pets::cuda
