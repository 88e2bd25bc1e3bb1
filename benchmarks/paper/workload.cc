#include "benchmarks/paper/workload.h"

#include <filesystem>
#include <fstream>
#include <random>

namespace pets::benchmarks {
namespace paper {

using testing_util::PetKind;

namespace {

constexpr PetKind kMix[] = {PetKind::kLoraQueryValue, PetKind::kBitFit, PetKind::kDiffPruning, PetKind::kMaskBert, PetKind::kHoulsby};
constexpr uint64_t kBaseSeed = 1;  // the base's fingerprint follows from it: deltas belong to bases of every call

/// A line "Key:   123 kB" in bytes.
uint64_t kilobytes_in(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, key.size() + 1, key + ":") == 0) return std::stoull(line.substr(key.size() + 1)) * 1024;
  }
  return 0;
}

}  // namespace

testing_util::ModelShape shape_of(const std::string& name) {
  return name == "bert-base" ? testing_util::bert_base_shape() : testing_util::minilm_shape();
}

std::string task_name(const std::string& kind, uint32_t index) { return fmt::format("{}-{}", kind, index); }

converter::PetTask task_of(const converter::BaseModel& base, PetKind kind, const std::string& name, uint64_t seed) {
  testing_util::PetOptions pet;
  pet.bottleneck = 64;
  return testing_util::random_task(base, kind, converter::HeadType::kSequenceClassification, name, seed, pet);
}

std::vector<converter::PetTask> tasks_of(const converter::BaseModel& base, const std::string& kind, uint32_t count) {
  std::vector<converter::PetTask> tasks;
  for (uint32_t i = 0; i < count; ++i) {
    tasks.push_back(task_of(base, kind == "lora" ? PetKind::kLoraQueryValue : kMix[i % std::size(kMix)], task_name(kind, i), i + 1));
  }
  return tasks;
}

void write_full(const std::string& path, const converter::BaseModel& base, const std::string& precision) {
  converter::Precision parsed = converter::Precision::kFloat32;
  if (!converter::parse_precision(precision, &parsed)) throw std::runtime_error(fmt::format("no precision is called '{}'", precision));
  testing_util::write_random_bundle(path, base, {task_of(base, PetKind::kNone, "base", kBaseSeed)}, parsed);
}

ModelOptions model_options(const PaperOptions& options) {
  ModelOptions model;
  model.backend = backend_named(options.backend);
  return model;
}

Loaded::Loaded(const PaperOptions& options, uint32_t tasks) {
  check(backend_works(backend_named(options.backend)));
  std::string full, delta;
  if (options.bundles.empty()) {
    const auto base = testing_util::random_base(shape_of(options.shape), kBaseSeed);
    full = full_.emplace("paper-full.pets").path();
    delta = delta_.emplace("paper-tasks.pets").path();
    write_full(full, base, options.precision);
    testing_util::write_random_delta(delta, base, tasks_of(base, options.kind, tasks));
  } else {
    full = full_path(options.bundles);
    // The smallest that has enough: what is mapped is read once, to check it.
    std::optional<uint32_t> found;
    const std::string prefix = options.kind + "-";
    for (const auto& entry : std::filesystem::directory_iterator(options.bundles)) {
      const std::string name = entry.path().filename().string();
      if (name.compare(0, prefix.size(), prefix) != 0) continue;
      const auto count = static_cast<uint32_t>(std::stoul(name.substr(prefix.size())));
      if (count >= tasks && (!found || count < *found)) found = count;
    }
    if (!found) throw std::runtime_error(fmt::format("{} has no bundle of {} {} tasks", options.bundles, tasks, options.kind));
    delta = delta_path(options.bundles, options.kind, *found);
  }
  model_ = value_of(Model::load(full.c_str(), model_options(options)));
  check(model_->add_tasks(delta.c_str()));
}

void Asked::add(std::string task, std::vector<int32_t> ids) {
  tasks_.push_back(std::move(task));
  ids_.push_back(std::move(ids));
}

const std::vector<Query>& Asked::queries() {
  queries_.resize(ids_.size());
  for (size_t i = 0; i < ids_.size(); ++i) {
    queries_[i].task = tasks_[i];
    queries_[i].ids = ids_[i];
    queries_[i].has_ids = true;
  }
  return queries_;
}

size_t Asked::tokens() const {
  size_t sum = 0;
  for (const auto& query : ids_) sum += query.size();
  return sum;
}

void ask_random_tasks(const PaperOptions& options, uint32_t queries, uint32_t length, Asked& mixed, Asked& base) {
  const uint32_t vocabulary = shape_of(options.shape).vocabulary;
  std::mt19937_64 random(options.seed);
  for (uint32_t i = 0; i < queries; ++i) {
    auto ids = random_ids(length, vocabulary, random);
    mixed.add(task_name(options.kind, static_cast<uint32_t>(random() % options.tasks)), ids);
    base.add("base", std::move(ids));
  }
}

double seconds_of(Session& session, std::span<const Query> queries) {
  size_t failed = 0;
  const auto start = Clock::now();
  const Status status = session.run(queries, [&](size_t, const Answer& answer) { failed += answer.status ? 0 : 1; });
  const double seconds = since(start);
  check(status);
  if (failed != 0) throw std::runtime_error(fmt::format("{} queries failed", failed));
  return seconds;
}

uint64_t process_bytes(const std::string& key) { return kilobytes_in("/proc/self/status", key); }
uint64_t available_bytes() { return kilobytes_in("/proc/meminfo", "MemAvailable"); }

}  // namespace paper

int run_paper_bundles(const PaperBundlesOptions& options) {
  return paper::reported("paper-bundles", [&] {
    const auto base = testing_util::random_base(paper::shape_of(options.shape), paper::kBaseSeed);
    paper::write_full(paper::full_path(options.folder), base, options.precision);
    for (const char* kind : {"lora", "types"}) {
      auto tasks = paper::tasks_of(base, kind, options.most_tasks);
      testing_util::write_random_delta(paper::delta_path(options.folder, kind, options.most_tasks), base, tasks);
      for (const uint32_t count : paper::kCopies) {
        if (count >= options.most_tasks) continue;
        const std::vector<converter::PetTask> few(tasks.begin(), tasks.begin() + count);
        testing_util::write_random_delta(paper::delta_path(options.folder, kind, count), base, few);
      }
    }
  });
}

}  // namespace pets::benchmarks
