// Work of tasks, and the model that a session measures of itself.
#include "runtime/serving/fit.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/testing_util/random_model.h"

#include "pets/pets.h"
#include "runtime/engine/session_impl.h"
#include "runtime/serving/task_work.h"

namespace pets::serving {
namespace {

using testing_util::PetKind;

struct Served {
  testing_util::TemporaryFile file{"fit.pets"};
  std::shared_ptr<Model> model;
  std::unique_ptr<Session> session;

  explicit Served(const testing_util::ModelShape& shape, const SessionOptions& options = {}) {
    const auto base = testing_util::random_base(shape, 1);
    std::vector<converter::PetTask> tasks;
    for (const PetKind kind : testing_util::kAllPetKinds) {
      tasks.push_back(
          testing_util::random_task(base, kind, converter::HeadType::kSequenceClassification, testing_util::pet_kind_name(kind), 7));
    }
    testing_util::write_random_bundle(file.path(), base, tasks);
    auto loaded = Model::load(file.c_str());
    EXPECT_TRUE(loaded) << loaded.status().c_str();
    model = *loaded;
    auto created = Session::create(model, options);
    EXPECT_TRUE(created) << created.status().c_str();
    session = std::move(*created);
  }
  TaskWork work(PetKind kind) const {
    return model->impl().tasks.view([&](const engine::TaskSet& set) {
      return work_of(set.tasks[*set.find(testing_util::pet_kind_name(kind))]->weights, model->impl().base);
    });
  }
};

TEST(TaskWork, CountsEveryFamilyOverAllLayers) {
  const testing_util::ModelShape shape;  // 48 hidden, 112 intermediate, 2 layers
  const Served served(shape);
  const double h = shape.hidden, m = shape.intermediate, layers = shape.layers;
  using Family = OperatorFamily;
  const auto only = [&](PetKind kind, std::vector<std::pair<Family, double>> expected) {
    TaskWork work = served.work(kind);
    for (const auto& [family, value] : expected) {
      EXPECT_EQ(work[family], value) << testing_util::pet_kind_name(kind) << " " << operator_family_name(family);
      work[family] = 0;
    }
    for (const double left : work.work) EXPECT_EQ(left, 0) << testing_util::pet_kind_name(kind);
  };
  only(PetKind::kNone, {});
  only(PetKind::kLoraQueryValue, {{Family::kLowRank, layers * 2 * 8 * 2 * h}});
  only(PetKind::kBitFit, {{Family::kBias, layers * (5 * h + m)}, {Family::kNorm, layers * 2 * h}});
  only(PetKind::kMaskBert, {{Family::kMask, layers * (4 * h * h + 2 * h * m)}});
  only(PetKind::kIa3, {{Family::kScale, layers * (2 * h + m)}});
  only(PetKind::kHoulsby, {{Family::kBottleneck, layers * 2 * 2 * h * 16}});
  only(PetKind::kParallel, {{Family::kBottleneck, layers * 2 * h * 16}});
  const double weights = layers * (4 * h * h + 2 * h * m);
  EXPECT_NEAR(served.work(PetKind::kDiffPruning)[Family::kSparse], 0.01 * weights, 0.005 * weights);
  const TaskWork everything = served.work(PetKind::kEverything);
  for (const double value : everything.work) EXPECT_GT(value, 0);
  EXPECT_EQ(everything[Family::kNorm], (layers * 2 + 1) * h);
  EXPECT_EQ(everything[Family::kScale], layers * 6 * (h + h) + layers * 2 * (m - h));
}

TEST(FitAtLoad, GivesAModelOfAnySessionAndLeavesItAsItWas) {
  for (const uint32_t tokens : {1U, 7U, 40U, 300U, 2048U}) {
    SCOPED_TRACE("max_batch_tokens " + std::to_string(tokens));
    SessionOptions options;
    options.threads = 2;
    options.max_batch_tokens = tokens;
    options.max_batch_queries = tokens == 300 ? 3 : 256;
    const Served served({}, options);
    const uint64_t bytes = served.session->arena_bytes();
    const size_t task_count = served.model->tasks().size();
    LatencyTable table = fit_at_load(served.session->impl(), 0.02);
    EXPECT_EQ(served.session->arena_bytes(), bytes);
    EXPECT_EQ(served.model->tasks().size(), task_count);
    ASSERT_FALSE(table.alpha.empty());
    for (const AlphaPoint& point : table.alpha) {
      EXPECT_LE(point.queries * point.length, tokens);
      EXPECT_GT(point.seconds, 0);
    }
    EXPECT_TRUE(check_key(table.key, key_of(served.session->impl()), "here"));
    EXPECT_EQ(table.key.threads, 2U);
    EXPECT_FALSE(table.key.device.empty());
    const CostModel model(table.alpha, table.beta);
    BatchShape shape;
    shape.add(32);
    EXPECT_GT(model.alpha(shape), 0);
    for (const PetKind kind : testing_util::kAllPetKinds) {
      const TaskCost cost = model.task_cost(served.work(kind));
      EXPECT_EQ(cost.per_row > 0, kind != PetKind::kNone) << testing_util::pet_kind_name(kind);
    }
    if (tokens >= 40) {  // it can be kept
      const testing_util::TemporaryFile file("fit.table");
      const Status status = write_latency_table(file.c_str(), table);
      EXPECT_TRUE(status) << status.c_str();
    }
  }
}

TEST(FitAtLoad, TakesAboutTheTimeThatItMay) {
  SessionOptions options;
  options.threads = 1;  // two that wait for each other are slow where others use the machine
  testing_util::ModelShape shape;
  shape.hidden = 192;
  shape.layers = 6;
  shape.intermediate = 768;
  const Served served(shape, options);
  const auto start = std::chrono::steady_clock::now();
  const LatencyTable table = fit_at_load(served.session->impl(), 0.25);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%.3f s for %zu points, up to %u rows\n", seconds, table.alpha.size(),
              table.alpha.back().queries * table.alpha.back().length);
  EXPECT_LT(seconds, 2.5);
}

}  // namespace
}  // namespace pets::serving
