#include <fmt/core.h>

#include <filesystem>
#include <vector>

#include "benchmarks/end_to_end/experiments.h"

namespace pets::benchmarks {
namespace {

/// Bytes of a bundle with `count` tasks of a kind.
uint64_t bundle_bytes(const converter::BaseModel& base, testing_util::PetKind kind, uint32_t count, const testing_util::PetOptions& pet) {
  std::vector<converter::PetTask> tasks;
  for (uint32_t i = 0; i < count; ++i) {
    tasks.push_back(
        testing_util::random_task(base, kind, converter::HeadType::kSequenceClassification, fmt::format("task-{}", i), i + 1, pet));
  }
  const testing_util::TemporaryFile file("bench-capacity.pets");
  testing_util::write_random_bundle(file.path(), base, tasks);
  return std::filesystem::file_size(file.path());
}

}  // namespace

int run_capacity(const CapacityOptions& options) {
  using testing_util::PetKind;
  constexpr std::pair<PetKind, const char*> kKinds[] = {{PetKind::kLoraQueryValue, "LoRA r=8, query and value"},
                                                        {PetKind::kHoulsby, "adapters 64 (Houlsby)"},
                                                        {PetKind::kDiffPruning, "diff-pruning 1 %"},
                                                        {PetKind::kMaskBert, "MaskBert"},
                                                        {PetKind::kBitFit, "BitFit"}};
  constexpr uint32_t kFew = 2, kMany = 18;  // the growth between them is a task's share, its line in the directory included
  testing_util::PetOptions pet;
  pet.bottleneck = 64;
  const auto base = testing_util::random_base(shape_named(options.shape), 1);
  const uint64_t alone = bundle_bytes(base, PetKind::kNone, 0, pet), room = options.copies * alone;
  fmt::print("{} shape, float32. A full copy is the base's own bundle without tasks: {:.1f} MB; {} of them: {:.1f} MB.\n\n", options.shape,
             static_cast<double>(alone) / 1e6, options.copies, static_cast<double>(room) / 1e6);
  fmt::print("| tasks of this kind | kB a task | tasks beside one base in the memory of {} copies |\n|---|---|---|\n", options.copies);
  for (const auto& [kind, label] : kKinds) {
    const uint64_t few = bundle_bytes(base, kind, kFew, pet), many = bundle_bytes(base, kind, kMany, pet);
    const double task = static_cast<double>(many - few) / (kMany - kFew);
    const double rest = static_cast<double>(room) - (static_cast<double>(few) - kFew * task);
    fmt::print("| {} | {:.1f} | {} |\n", label, task / 1e3, static_cast<uint64_t>(rest / task));
  }
  return 0;
}

}  // namespace pets::benchmarks
