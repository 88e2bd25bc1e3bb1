#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <vector>

#include "benchmarks/end_to_end/experiments.h"

#include "pets/pets.h"

namespace pets::benchmarks {

int run_load_time(const LoadTimeOptions& options) {
  using Clock = std::chrono::steady_clock;
  const testing_util::TemporaryFile base_file("bench-base.pets"), file("bench-load.pets");
  const auto base = testing_util::random_base(shape_named("minilm"), 1);
  std::vector<converter::PetTask> tasks;
  uint64_t delta = 0;  // float32 values of one task, as trained
  for (uint32_t i = 0; i < options.tasks; ++i) {
    tasks.push_back(testing_util::random_task(base, testing_util::PetKind::kLoraQueryValue, converter::HeadType::kSequenceClassification,
                                              fmt::format("task-{}", i), i));
  }
  for (const converter::Operator& op : tasks[0].operators) {
    const auto& low_rank = std::get<converter::LowRankOperator>(op.body);
    delta += (low_rank.a.values.size() + low_rank.b.values.size()) * sizeof(float);
  }
  for (const converter::HeadLayer& layer : tasks[0].head.layers) delta += (layer.weight.values.size() + layer.bias.size()) * sizeof(float);
  testing_util::write_random_bundle(base_file.path(), base, {});
  testing_util::write_random_bundle(file.path(), base, tasks);
  const auto base_bytes = std::filesystem::file_size(base_file.path()), bytes = std::filesystem::file_size(file.path());
  const auto allowed = base_bytes + options.tasks * (delta + 65536);

  std::vector<double> load, ready;
  for (uint32_t round = 0; round <= options.rounds; ++round) {
    const auto start = Clock::now();
    auto model = Model::load(file.c_str());
    const auto loaded = Clock::now();
    if (!model) {
      fmt::print(stderr, "{}\n", model.status().c_str());
      return 1;
    }
    auto session = Session::create(*model);
    const auto end = Clock::now();
    if (!session) return 1;
    if (round == 0) continue;  // warms the pages
    load.push_back(std::chrono::duration<double, std::milli>(loaded - start).count());
    ready.push_back(std::chrono::duration<double, std::milli>(end - start).count());
  }
  std::sort(load.begin(), load.end());
  std::sort(ready.begin(), ready.end());
  fmt::print("| {} LoRA tasks (r=8, query and value), MiniLM shape, fp32 | |\n|---|---|\n", options.tasks);
  fmt::print("| base alone | {:.1f} MB |\n| one delta | {:.1f} kB |\n", static_cast<double>(base_bytes) / 1e6,
             static_cast<double>(delta) / 1e3);
  fmt::print("| bundle | {:.1f} MB; base + tasks x (delta + 64 KiB) is {:.1f} MB |\n", static_cast<double>(bytes) / 1e6,
             static_cast<double>(allowed) / 1e6);
  fmt::print("| mapped, checksums and structure validated | {:.2f} ms (median of {}, best {:.2f}) |\n", load[load.size() / 2], load.size(),
             load[0]);
  fmt::print("| and a session ready | {:.2f} ms |\n", ready[ready.size() / 2]);
  return bytes <= allowed ? 0 : 1;
}

}  // namespace pets::benchmarks
