#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <vector>

#include "benchmarks/end_to_end/experiments.h"

#include "pets/pets.h"
#include "runtime/platform/processors.h"

namespace pets::benchmarks {
namespace {

using nlohmann::json;
using testing_util::PetKind;

constexpr PetKind kMix[] = {PetKind::kLoraQueryValue, PetKind::kBitFit, PetKind::kDiffPruning, PetKind::kMaskBert, PetKind::kHoulsby};
// Tasks that the bundle holds: LoRA, and of every type in turn (some MB each).
constexpr uint32_t kLoraTasks = 1024, kMixedTasks = 128;
constexpr uint32_t kTaskQueries = 1024, kTaskLength = 16;  // of the points of growing tasks: a query a task at the end
constexpr uint32_t kLength = 32, kThreadTokens = 2048;     // of the others

std::string growth_task(const std::string& kind, uint32_t i) { return kind == "base" ? "base" : fmt::format("{}-{}", kind, i); }

void write_growth_bundle(const std::string& path, const converter::BaseModel& base) {
  testing_util::PetOptions pet;
  pet.bottleneck = 64;
  std::vector<converter::PetTask> tasks;
  const auto add = [&](PetKind kind, const std::string& name) {
    tasks.push_back(testing_util::random_task(base, kind, converter::HeadType::kSequenceClassification, name, tasks.size() + 1, pet));
  };
  add(PetKind::kNone, "base");
  for (uint32_t i = 0; i < kLoraTasks; ++i) add(PetKind::kLoraQueryValue, growth_task("lora", i));
  for (uint32_t i = 0; i < kMixedTasks; ++i) add(kMix[i % std::size(kMix)], growth_task("types", i));
  testing_util::write_random_bundle(path, base, tasks);
}

/// One point of a curve: what is asked, by how many threads, and the seconds of each round.
struct Point {
  std::string axis, kind;
  uint32_t value = 0, threads = 0, queries = 0, length = 0, tasks = 0;
  std::vector<std::string> names;
  std::vector<Query> batch;
  std::vector<double> seconds;
};

std::vector<Point> growth_points(uint32_t threads) {
  std::vector<Point> points;
  for (uint32_t tasks = 1; tasks <= kLoraTasks; tasks *= 2) {
    points.push_back({"tasks", "base", tasks, threads, kTaskQueries, kTaskLength, 1, {}, {}, {}});
    points.push_back({"tasks", "lora", tasks, threads, kTaskQueries, kTaskLength, tasks, {}, {}, {}});
    if (tasks <= kMixedTasks) points.push_back({"tasks", "types", tasks, threads, kTaskQueries, kTaskLength, tasks, {}, {}, {}});
  }
  for (uint32_t tokens = kLength; tokens <= 16384; tokens *= 2) {
    for (const char* kind : {"base", "lora"}) {
      const uint32_t queries = tokens / kLength;
      points.push_back({"tokens", kind, tokens, threads, queries, kLength, std::min(queries, kMixedTasks), {}, {}, {}});
    }
  }
  std::set<uint32_t> counts = {1, threads};
  const uint32_t processors = usable_processors();
  for (uint32_t count = 1; count <= processors; count *= 2) counts.insert(count);
  for (const uint32_t count : counts) {
    for (const char* kind : {"base", "types"}) {
      points.push_back({"threads", kind, count, count, kThreadTokens / kLength, kLength, 32, {}, {}, {}});
    }
  }
  return points;
}

double seconds_of(Session& session, const std::vector<Query>& batch) {
  size_t failed = 0;
  const auto start = std::chrono::steady_clock::now();
  const Status status = session.run(batch, [&](size_t, const Answer& answer) { failed += answer.status ? 0 : 1; });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!status || failed != 0) throw std::runtime_error(fmt::format("{} queries failed", failed));
  return seconds;
}

void measure_growth(const GrowthOptions& options) {
  const testing_util::TemporaryFile file("bench-growth.pets");
  const testing_util::ModelShape shape = testing_util::minilm_shape();
  write_growth_bundle(file.path(), testing_util::random_base(shape, 1));
  auto model = Model::load(file.c_str());
  if (!model) throw std::runtime_error(model.status().c_str());
  std::map<uint32_t, std::unique_ptr<Session>> sessions;
  const uint32_t threads = options.threads != 0 ? options.threads : usable_processors();
  std::vector<Point> points = growth_points(threads);
  std::mt19937_64 random(1);
  std::vector<std::vector<int32_t>> ids(kTaskQueries, std::vector<int32_t>(kLength));
  for (auto& query : ids) {
    for (int32_t& id : query) id = static_cast<int32_t>(random() % shape.vocabulary);
  }
  for (Point& point : points) {
    for (uint32_t i = 0; i < point.queries; ++i) point.names.push_back(growth_task(point.kind, i % point.tasks));
    std::shuffle(point.names.begin(), point.names.end(), random);
    for (uint32_t i = 0; i < point.queries; ++i) {
      Query query;
      query.task = point.names[i];
      query.ids = std::span(ids[i]).first(point.length);
      query.has_ids = true;
      point.batch.push_back(query);
    }
    if (auto& session = sessions[point.threads]; !session) {
      SessionOptions session_options;
      session_options.threads = point.threads;
      session_options.max_batch_tokens = kTaskQueries * kTaskLength;
      session_options.max_batch_queries = kTaskQueries;
      auto created = Session::create(*model, session_options);
      if (!created) throw std::runtime_error(created.status().c_str());
      session = std::move(*created);
    }
  }
  for (uint32_t round = 0; round <= options.rounds; ++round) {
    for (Point& point : points) {
      const double seconds = seconds_of(*sessions[point.threads], point.batch);
      if (round != 0) point.seconds.push_back(seconds);  // the first warms
    }
  }
  json result = {{"isa", std::string((*model)->isa())}, {"threads", threads}, {"points", json::array()}};
  for (const Point& point : points) {
    result["points"].push_back({{"axis", point.axis},
                                {"kind", point.kind},
                                {"value", point.value},
                                {"tokens", point.queries * point.length},
                                {"queries", point.queries},
                                {"threads", point.threads},
                                {"seconds", point.seconds}});
  }
  std::cout << result.dump(1) << "\n";
}

}  // namespace

int run_growth(const GrowthOptions& options) {
  try {
    measure_growth(options);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "pets-bench growth: {}\n", error.what());
    return 1;
  }
}

}  // namespace pets::benchmarks
