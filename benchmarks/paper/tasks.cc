// Table 5.
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "benchmarks/paper/workload.h"

namespace pets::benchmarks {
namespace {

using testing_util::PetKind;

constexpr std::pair<PetKind, const char*> kKinds[] = {{PetKind::kLoraQueryValue, "LoRA r=8, query and value"},
                                                      {PetKind::kHoulsby, "adapters 64 (Houlsby)"},
                                                      {PetKind::kBitFit, "BitFit"},
                                                      {PetKind::kDiffPruning, "diff-pruning 1 %"},
                                                      {PetKind::kMaskBert, "MaskBert"}};

/// The base, then `count` tasks of a delta bundle, then a session, all under a limit: the first error.
Status load_under(uint64_t limit, const std::string& base, const std::string& delta, const SessionOptions& session) {
  ModelOptions options;
  options.memory_limit = limit;
  auto model = Model::load(base.c_str(), options);
  if (!model) return model.status();
  if (Status added = (*model)->add_tasks(delta.c_str()); !added) return added;
  return Session::create(*model, session).status();
}

/// Table 5 of a device's memory: what a session's tasks take there, by sessions of few and of many. What CUDA and cuBLAS take for
/// themselves, about half a gigabyte a process, is not counted on either side.
void print_device_tasks(const PaperTasksOptions& options) {
  paper::check(backend_works(backend_named(options.backend)));
  const uint32_t few = options.checked / 4, many = options.checked;
  const auto base = testing_util::random_base(paper::shape_of(options.shape), 1);
  const testing_util::TemporaryFile full("paper-full.pets");
  paper::write_full(full.path(), base, options.precision);
  SessionOptions session;
  session.threads = options.threads;
  uint64_t base_bytes = 0, copy_session_bytes = 0;
  std::string device;
  const auto session_bytes = [&](const std::string* delta) {
    const auto model = paper::value_of(Model::load(full.c_str(), paper::model_options(options)));
    if (delta != nullptr) paper::check(model->add_tasks(delta->c_str()));
    base_bytes = model->memory().device_bytes;
    device = model->device();
    return paper::value_of(Session::create(model, session))->device_bytes();
  };
  copy_session_bytes = session_bytes(nullptr);
  // As on the CPU: copies that share one session's memory, to their advantage.
  const auto fit = [](uint64_t memory, double fixed, double share) {
    return static_cast<double>(memory) < fixed ? 0 : static_cast<uint64_t>((static_cast<double>(memory) - fixed) / share);
  };
  nlohmann::json rows = nlohmann::json::array(), copies = nlohmann::json::array();
  for (const uint64_t memory : options.memory) {
    copies.push_back(fit(memory, static_cast<double>(copy_session_bytes), static_cast<double>(base_bytes)));
  }
  for (const auto& [kind, label] : kKinds) {
    std::vector<converter::PetTask> tasks;
    for (uint32_t i = 0; i < many; ++i) tasks.push_back(paper::task_of(base, kind, fmt::format("task-{}", i), i + 1));
    const testing_util::TemporaryFile delta("paper-delta.pets");
    testing_util::write_random_delta(delta.path(), base, {tasks.begin(), tasks.begin() + few});
    const uint64_t of_few = session_bytes(&delta.path());
    testing_util::write_random_delta(delta.path(), base, tasks);
    const double share = static_cast<double>(session_bytes(&delta.path()) - of_few) / (many - few);
    const double fixed = static_cast<double>(base_bytes + of_few) - few * share;
    nlohmann::json fitting = nlohmann::json::array();
    for (const uint64_t memory : options.memory) fitting.push_back(fit(memory, fixed, share));
    rows.push_back(
        {{"kind", testing_util::pet_kind_name(kind)}, {"label", label}, {"task_bytes", share}, {"fixed_bytes", fixed}, {"tasks", fitting}});
  }
  std::cout << nlohmann::json{{"shape", options.shape},
                              {"precision", options.precision},
                              {"device", device},
                              {"memory", options.memory},
                              {"copy_bytes", base_bytes},
                              {"copies", copies},
                              {"session_bytes", copy_session_bytes},
                              {"rows", rows}}
                   .dump()
            << "\n";
}

}  // namespace

int run_paper_tasks(const PaperTasksOptions& options) {
  if (options.backend == "cuda") return paper::reported("paper-tasks", [&] { print_device_tasks(options); });
  return paper::reported("paper-tasks", [&] {
    const uint32_t few = options.checked / 4, many = options.checked / 2;
    const auto base = testing_util::random_base(paper::shape_of(options.shape), 1);
    const testing_util::TemporaryFile full("paper-full.pets");
    paper::write_full(full.path(), base);
    SessionOptions session;
    session.threads = options.threads;
    const Plan copy = paper::value_of(plan(full.c_str(), {}, session));
    // A second copy would need its own session; that it may share the first one's arena is to the copies' advantage.
    const uint64_t copy_bytes = copy.mapped_bytes + copy.model_bytes;
    nlohmann::json rows = nlohmann::json::array(), copies = nlohmann::json::array();
    for (const uint64_t memory : options.memory) {
      copies.push_back(memory < copy.arena_bytes ? 0 : (memory - copy.arena_bytes) / copy_bytes);
    }
    for (const auto& [kind, label] : kKinds) {
      std::vector<converter::PetTask> tasks;
      for (uint32_t i = 0; i <= options.checked; ++i) tasks.push_back(paper::task_of(base, kind, fmt::format("task-{}", i), i + 1));
      const testing_util::TemporaryFile delta("paper-delta.pets");
      const auto write = [&](uint32_t count) {
        testing_util::write_random_delta(delta.path(), base, {tasks.begin(), tasks.begin() + count});
      };
      const auto planned = [&](uint32_t count) {
        write(count);
        return paper::value_of(plan(full.c_str(), {}, session, {delta.path()})).total_bytes;
      };
      const uint64_t of_few = planned(few), of_many = planned(many);
      const double share = static_cast<double>(of_many - of_few) / (many - few), fixed = static_cast<double>(of_few) - few * share;
      const auto fit = [&](uint64_t memory) {
        return static_cast<double>(memory) < fixed ? 0 : static_cast<uint64_t>((static_cast<double>(memory) - fixed) / share);
      };
      nlohmann::json fitting = nlohmann::json::array();
      for (const uint64_t memory : options.memory) fitting.push_back(fit(memory));
      // Half a task more than the tasks to be checked: sizes of tasks of a kind differ by some values.
      const auto limit = static_cast<uint64_t>(fixed + share * (options.checked + 0.5));
      const auto predicted = static_cast<uint32_t>(fit(limit));
      write(predicted);
      const Status fits = load_under(limit, full.path(), delta.path(), session);
      write(predicted + 1);
      const Status refused = load_under(limit, full.path(), delta.path(), session);
      rows.push_back({{"kind", testing_util::pet_kind_name(kind)},
                      {"label", label},
                      {"task_bytes", share},
                      {"fixed_bytes", fixed},
                      {"tasks", fitting},
                      {"check",
                       {{"limit", limit},
                        {"predicted", predicted},
                        {"loads", fits.is_ok()},
                        {"error", fits.is_ok() ? "" : fits.c_str()},
                        {"one_more_refused", refused.code() == ErrorCode::kResourceExhausted},
                        {"refusal", refused.is_ok() ? "" : refused.c_str()}}}});
    }
    std::cout << nlohmann::json{{"shape", options.shape}, {"memory", options.memory},        {"copy_bytes", copy_bytes},
                                {"copies", copies},       {"arena_bytes", copy.arena_bytes}, {"rows", rows}}
                     .dump()
              << "\n";
  });
}

}  // namespace pets::benchmarks
