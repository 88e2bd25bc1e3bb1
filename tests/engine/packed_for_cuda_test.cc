// A base that was packed for a GPU, on the CPU: its values in the CPU's layouts, and planned so.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/testing_util/random_model.h"

#include "kernels/gemm/panel_layout.h"
#include "pets/pets.h"

namespace pets {
namespace {

using converter::Precision;
using converter::Target;
using testing_util::PetKind;
using testing_util::TemporaryFile;

constexpr Precision kPrecisions[] = {Precision::kFloat32, Precision::kFloat16, Precision::kBFloat16, Precision::kInt8};

/// Sizes that fill no panel, and no pair of inputs.
converter::BaseModel odd_base(uint64_t seed) { return testing_util::random_base({21, 2, 3, 27, 120, 32, 2}, seed); }

std::vector<converter::PetTask> tasks_for(const converter::BaseModel& base) {
  std::vector<converter::PetTask> tasks;
  for (const PetKind kind : testing_util::kAllPetKinds) {
    tasks.push_back(testing_util::random_task(base, kind, converter::HeadType::kSequenceClassification, testing_util::pet_kind_name(kind),
                                              tasks.size() + 1));
  }
  return tasks;
}

std::vector<std::vector<float>> answers(const char* path) {
  std::vector<std::vector<float>> logits;
  auto model = Model::load(path);
  EXPECT_TRUE(model) << model.status().c_str();
  if (!model) return logits;
  auto session = Session::create(*model);
  EXPECT_TRUE(session) << session.status().c_str();
  if (!session) return logits;
  const std::vector<int32_t> ids = {3, 119, 0, 54, 54, 7, 100};
  std::vector<Query> queries;
  for (const auto& task : (*model)->tasks()) {
    queries.push_back({.task = task->name, .ids = ids, .has_ids = true});
    queries.push_back({.task = task->name, .ids = std::span(ids).first(2), .has_ids = true});
  }
  logits.resize(queries.size());
  EXPECT_TRUE((*session)->run(queries, [&](size_t index, const Answer& answer) {
    EXPECT_TRUE(answer.status) << answer.status.c_str();
    logits[index].assign(answer.logits.begin(), answer.logits.end());
  }));
  return logits;
}

/// As a base for a GPU in this precision keeps it.
void round_table(converter::Matrix& table, Precision precision) {
  for (float& value : table.values) {
    if (precision == Precision::kFloat16 || precision == Precision::kInt8)
      value = kernels::float_from_half(kernels::half_from_float(value));
    if (precision == Precision::kBFloat16) value = kernels::float_from_bfloat(kernels::bfloat_from_float(value));
  }
}

TEST(PackedForCuda, AnswersTheSameBitsOnTheCpu) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  converter::BaseModel base = odd_base(seed);
  const auto tasks = tasks_for(base);
  for (const Precision precision : kPrecisions) {
    SCOPED_TRACE(converter::precision_name(precision));
    const TemporaryFile for_cuda("for_cuda.pets"), for_cpu("for_cpu.pets");
    testing_util::write_random_bundle(for_cuda.path(), base, tasks, precision, Target::kCuda);
    converter::BaseModel rounded = base;      // the tables of a base for the CPU are float32 in every precision,
    ASSERT_TRUE(rounded.pooler.has_value());  // and so is the pooler
    for (converter::Matrix* table :
         {&rounded.word_embeddings, &rounded.position_embeddings, &rounded.token_type_embeddings, &rounded.pooler->weight}) {
      round_table(*table, precision);
    }
    testing_util::write_random_bundle(for_cpu.path(), rounded, tasks, precision);
    const auto expected = answers(for_cpu.c_str());
    ASSERT_FALSE(expected.empty());
    EXPECT_EQ(answers(for_cuda.c_str()), expected);
  }
}

TEST(PackedForCuda, IsPlannedWithWhatIsRepacked) {
  const converter::BaseModel base = odd_base(8);
  const auto tasks = tasks_for(base);
  for (const Precision precision : kPrecisions) {
    SCOPED_TRACE(converter::precision_name(precision));
    const TemporaryFile for_cuda("for_cuda.pets"), for_cpu("for_cpu.pets");
    testing_util::write_random_bundle(for_cuda.path(), base, tasks, precision, Target::kCuda);
    testing_util::write_random_bundle(for_cpu.path(), base, tasks, precision);
    const auto foretold = plan(for_cuda.c_str()), in_place = plan(for_cpu.c_str());
    ASSERT_TRUE(foretold && in_place);
    auto model = Model::load(for_cuda.c_str());
    ASSERT_TRUE(model) << model.status().c_str();
    EXPECT_EQ((*model)->memory().model_bytes, foretold->model_bytes);
    EXPECT_EQ((*model)->memory().mapped_bytes, foretold->mapped_bytes);
    const uint64_t weights = uint64_t{2} * (4 * 21 * 21 + 2 * 21 * 27) *
                             (precision == Precision::kFloat32 ? 4
                              : precision == Precision::kInt8  ? 1
                                                               : 2);
    EXPECT_GE(foretold->model_bytes, in_place->model_bytes + weights);
    ModelOptions options;
    options.memory_limit = foretold->mapped_bytes + foretold->model_bytes;
    EXPECT_TRUE(Model::load(for_cuda.c_str(), options));
    --options.memory_limit;
    EXPECT_FALSE(Model::load(for_cuda.c_str(), options));
  }
}

TEST(PackedForCuda, TakesDeltasOfTheSameSource) {
  const converter::BaseModel base = odd_base(9);
  const TemporaryFile for_cuda("for_cuda.pets"), delta("for_both.pets");
  testing_util::write_random_bundle(for_cuda.path(), base, {}, Precision::kFloat16, Target::kCuda);
  testing_util::write_random_delta(delta.path(), base, tasks_for(base));
  auto model = Model::load(for_cuda.c_str());
  ASSERT_TRUE(model) << model.status().c_str();
  const Status added = (*model)->add_tasks(delta.c_str());
  EXPECT_TRUE(added) << added.c_str();
  EXPECT_EQ((*model)->weight_memory(), WeightMemory::kAuto);
}

}  // namespace
}  // namespace pets
