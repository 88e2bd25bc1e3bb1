// The CUDA backend against the CPU: the whole engine, its kernels emulated where no GPU is.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tests/engine/cuda_mix.h"
#include "tests/testing_util/random_model.h"

#include "pets/pets.h"

namespace pets {
namespace {

using converter::Precision;
using cuda_mix::kShape;
using cuda_mix::largest_error;
using cuda_mix::Mix;

class CudaBackend : public testing::TestWithParam<Precision> {};

TEST_P(CudaBackend, AnswersAsTheCpuDoes) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Mix mix(seed);
  const testing_util::TemporaryFile file("cuda_backend.pets");
  testing_util::write_random_bundle(file.path(), mix.base, mix.tasks, GetParam());
  const auto cpu = session_of(file.path(), Backend::kCpu), cuda = session_of(file.path(), Backend::kCuda);
  ASSERT_TRUE(cpu != nullptr && cuda != nullptr);
  const auto queries = mix.queries(8 * mix.tasks.size(), 10);
  const double error = largest_error(queries, run_all(*cuda, queries), run_all(*cpu, queries));
  std::printf("largest error %.2e\n", error);
  EXPECT_LE(error, kHeadErrors * cuda_noise(GetParam()));
}

/// Every head type with every pooling that it may have, without layers and with several, narrow and wide.
std::vector<converter::PetTask> tasks_of_every_head(const converter::BaseModel& base, std::mt19937_64& random) {
  using converter::HeadType, converter::Pooling, converter::Activation;
  struct Shape {
    HeadType type;
    Pooling pooling;
    bool normalize;
    std::vector<uint32_t> outputs;  // of the layers
  };
  const std::vector<Shape> shapes = {
      {HeadType::kSequenceClassification, Pooling::kCls, false, {2}},
      {HeadType::kSequenceClassification, Pooling::kPooler, false, {3}},
      {HeadType::kSequenceClassification, Pooling::kMean, false, {20, 9}},
      {HeadType::kSequenceClassification, Pooling::kCls, false, {33, 17, 70}},
      {HeadType::kMultiLabelClassification, Pooling::kPooler, false, {64, 5}},
      {HeadType::kMultiLabelClassification, Pooling::kMean, false, {130}},
      {HeadType::kRegression, Pooling::kPooler, false, {1}},
      {HeadType::kRegression, Pooling::kMean, false, {7, 1}},
      {HeadType::kTokenClassification, Pooling::kTokens, false, {9}},
      {HeadType::kTokenClassification, Pooling::kTokens, false, {40, 3}},
      {HeadType::kQuestionAnswering, Pooling::kTokens, false, {2}},
      {HeadType::kQuestionAnswering, Pooling::kTokens, false, {64, 2}},
      {HeadType::kEmbedding, Pooling::kCls, false, {}},
      {HeadType::kEmbedding, Pooling::kPooler, true, {}},
      {HeadType::kEmbedding, Pooling::kMean, true, {}},
      {HeadType::kEmbedding, Pooling::kMean, true, {24, 19}},
  };
  std::vector<converter::PetTask> tasks;
  for (const Shape& shape : shapes) {
    const auto kind = tasks.size() % 3 == 0 ? testing_util::PetKind::kLoraQueryValue : testing_util::PetKind::kNone;
    converter::PetTask task = testing_util::random_task(base, kind, shape.type, "head-" + std::to_string(tasks.size()), random());
    task.head = {shape.type, shape.pooling, {}, shape.normalize, {}};
    uint32_t in = base.hidden;
    for (const uint32_t out : shape.outputs) {
      std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(in)));
      converter::HeadLayer layer{{out, in, std::vector<float>(size_t{out} * in)}, std::vector<float>(out), Activation::kTanh};
      for (float& value : layer.weight.values) value = normal(random);
      for (float& value : layer.bias) value = normal(random);
      task.head.layers.push_back(layer);
      in = out;
    }
    if (!task.head.layers.empty()) task.head.layers.back().activation = Activation::kNone;
    const bool labels = shape.type != HeadType::kQuestionAnswering && shape.type != HeadType::kEmbedding;
    for (uint32_t i = 0; labels && i < in; ++i) task.head.labels.push_back("LABEL_" + std::to_string(i));
    tasks.push_back(task);
  }
  return tasks;
}

TEST_P(CudaBackend, EveryHeadInOneBatchAnswersAsOnTheCpu) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Mix mix(seed);
  mix.tasks = tasks_of_every_head(mix.base, mix.random);
  const testing_util::TemporaryFile file("cuda_heads.pets");
  testing_util::write_random_bundle(file.path(), mix.base, mix.tasks, GetParam());
  const auto cpu = session_of(file.path(), Backend::kCpu), cuda = session_of(file.path(), Backend::kCuda);
  ASSERT_TRUE(cpu != nullptr && cuda != nullptr);
  const auto queries = mix.queries(6 * mix.tasks.size(), 20);  // more rows of a task than a tile's
  const Logits expected = run_all(*cpu, queries);
  const double error = largest_error(queries, run_all(*cuda, queries), expected);
  std::printf("largest error %.2e\n", error);
  // The pooled row, the pooler's product and result, up to two layers; weights of three.
  EXPECT_LE(error, kHeadErrors * cuda_noise(GetParam(), kLayerRoundings + 8));
  // A batch of two tasks after one of all: what the first left behind is nobody's.
  std::vector<Query> few;
  Logits few_expected;
  const size_t first = mix.random() % mix.tasks.size(), second = mix.random() % mix.tasks.size();
  for (size_t i = 0; i < queries.size(); ++i) {
    if (queries[i].task != mix.tasks[first].name && queries[i].task != mix.tasks[second].name) continue;
    few.push_back(queries[i]);
    few_expected.push_back(expected[i]);
  }
  EXPECT_LE(largest_error(few, run_all(*cuda, few), few_expected), kHeadErrors * cuda_noise(GetParam(), kLayerRoundings + 8));
}

/// Operands with 10 bits of mantissa, as fp16 has them, and no other rounding.
TEST(CudaTf32, RoundsTheSharedProductsOperandsOnly) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Mix mix(seed);
  const testing_util::TemporaryFile file("cuda_tf32.pets");
  testing_util::write_random_bundle(file.path(), mix.base, mix.tasks);
  SessionOptions options;
  options.device_tf32 = true;
  const auto cpu = session_of(file.path(), Backend::kCpu), tf32 = session_of(file.path(), Backend::kCuda, options);
  ASSERT_TRUE(cpu != nullptr && tf32 != nullptr);
  const auto queries = mix.queries(8 * mix.tasks.size(), 10);
  const double error = largest_error(queries, run_all(*tf32, queries), run_all(*cpu, queries));
  std::printf("largest error %.2e\n", error);
  EXPECT_LE(error, kHeadErrors * cuda_noise(Precision::kFloat16));
  EXPECT_GT(error, kHeadErrors * cuda_noise(Precision::kFloat32)) << "products in float";
}

INSTANTIATE_TEST_SUITE_P(EveryPrecision, CudaBackend, testing::ValuesIn(testing_util::kAllPrecisions),
                         [](const auto& test) { return std::string(converter::precision_name(test.param)); });

TEST(CudaTasks, QueriesOnOneTextAreAnsweredAsThoseWithCopiesOfIt) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Mix mix(seed);
  for (auto& task : mix.tasks) {  // some change nothing but the head: on the CPU these would share rows
    if (mix.random() % 2 == 0) task.operators.clear();
  }
  const testing_util::TemporaryFile file("cuda_one_text.pets");
  testing_util::write_random_bundle(file.path(), mix.base, mix.tasks);
  SessionOptions options;
  options.max_batch_tokens = 100;  // several batches
  const auto cuda = session_of(file.path(), Backend::kCuda, options);
  ASSERT_NE(cuda, nullptr);
  auto queries = mix.queries(3 * mix.tasks.size(), 10);
  for (size_t i = 0; i < queries.size(); ++i) {
    mix.ids[i] = mix.ids[i / 11 * 11];
    queries[i].ids = mix.ids[i];
  }
  const Logits copies = run_all(*cuda, queries);
  for (size_t i = 0; i < queries.size(); ++i) queries[i].ids = mix.ids[i / 11 * 11];
  EXPECT_LE(largest_error(queries, run_all(*cuda, queries), copies), 1e-5);  // products of fewer rows may sum in another order
}

TEST(CudaTasks, HeadsOnOneTextShareItsRows) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Mix mix(seed);
  mix.tasks.clear();
  constexpr uint32_t kHeads = 6, kTokens = 30;
  for (uint32_t i = 0; i < 2 * kHeads; ++i) {
    mix.tasks.push_back(testing_util::random_task(mix.base, testing_util::PetKind::kNone, static_cast<converter::HeadType>(i % kHeads + 1),
                                                  "head " + std::to_string(i), mix.random()));
    mix.tasks.back().operators.clear();
  }
  mix.tasks.push_back(testing_util::random_task(mix.base, testing_util::PetKind::kLoraAll, converter::HeadType::kRegression, "lora", 1));
  const testing_util::TemporaryFile file("cuda_heads_share.pets");
  testing_util::write_random_bundle(file.path(), mix.base, mix.tasks);
  SessionOptions options;
  // Two texts and a copy of each for the task that shares nothing; more than all tokens that heads answer for.
  options.max_batch_tokens = 2 * 4 * kTokens;
  const auto cuda = session_of(file.path(), Backend::kCuda, options), cpu = session_of(file.path(), Backend::kCpu, options);
  ASSERT_TRUE(cuda != nullptr && cpu != nullptr);
  auto queries = mix.queries(2 * mix.tasks.size(), 1);  // every task twice, in any order
  std::sort(queries.begin(), queries.end(), [](const Query& a, const Query& b) { return a.task < b.task; });
  for (auto& ids : mix.ids) {
    ids.resize(kTokens);
    for (int32_t& id : ids) id = static_cast<int32_t>(mix.random() % kShape.vocabulary);
  }
  std::vector<Query> by_text;
  for (size_t text = 0; text < 2; ++text) {
    for (size_t task = 0; task < mix.tasks.size(); ++task) {
      by_text.push_back(queries[2 * task + text]);
      by_text.back().ids = mix.ids[text];
    }
  }
  const Logits expected = run_all(*cpu, by_text);
  for (int time = 0; time < 3; ++time) EXPECT_LE(largest_error(by_text, run_all(*cuda, by_text), expected), 1e-5);
  EXPECT_EQ(cuda->device_counters().batches, 3U) << "a batch a run: copies would not fit";
}

TEST(CudaServer, AnswersAsASessionDoes) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Mix mix(seed);
  const testing_util::TemporaryFile file("cuda_server.pets");
  testing_util::write_random_bundle(file.path(), mix.base, mix.tasks);
  const auto model = model_of(file.path(), Backend::kCuda);
  ASSERT_NE(model, nullptr);
  const auto queries = mix.queries(2 * mix.tasks.size(), 8);
  Logits expected;
  {
    auto session = Session::create(model);
    ASSERT_TRUE(session) << session.status().c_str();
    expected = run_all(**session, queries);
  }
  for (const Strategy strategy : {Strategy::kPacked, Strategy::kCoordinated}) {
    ServerOptions options;
    options.strategy = strategy;
    options.fit_seconds = 0;
    auto server = Server::create(model, options);
    ASSERT_TRUE(server) << server.status().c_str();
    std::vector<std::future<OwnedAnswer>> futures;
    for (const Query& query : queries) futures.push_back((*server)->submit(query));
    Logits found;
    for (auto& future : futures) {
      OwnedAnswer answer = future.get();
      EXPECT_TRUE(answer.status) << answer.status.c_str();
      found.push_back(std::move(answer.logits));
    }
    EXPECT_LT(largest_error(queries, found, expected), 1e-5);  // float: sums in another order
  }
}

TEST(CudaTasks, LeaveAndComeBackWithinTheirBytes) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Mix mix(seed);
  const testing_util::TemporaryFile file("cuda_tasks.pets");
  testing_util::write_random_bundle(file.path(), mix.base, mix.tasks);
  const auto queries = mix.queries((cuda_mix::kSlow ? 1 : 4) * mix.tasks.size(), 12);
  SessionOptions options;
  const auto all = session_of(file.path(), Backend::kCuda, options);
  options.device_task_bytes = 200 << 10;  // the largest fits, not all
  const auto few = session_of(file.path(), Backend::kCuda, options);
  ASSERT_TRUE(all != nullptr && few != nullptr);
  const Logits expected = run_all(*all, queries);
  EXPECT_LE(largest_error(queries, run_all(*few, queries), expected), 1e-5);  // smaller batches may sum in another order
  EXPECT_LE(largest_error(queries, run_all(*few, queries), expected), 1e-5);  // smaller batches may sum in another order
  options.device_task_bytes = 10 << 10;                                       // some heads fit, no adapter does
  const auto none = session_of(file.path(), Backend::kCuda, options);
  ASSERT_TRUE(none != nullptr);
  size_t failed = 0, answered = 0;
  EXPECT_TRUE(none->run(queries, [&](size_t index, const Answer& answer) {
    if (answer.status) {
      ++answered;
      const std::vector<Query> alone{queries[index]};
      EXPECT_LE(largest_error(alone, {Logits::value_type(answer.logits.begin(), answer.logits.end())}, {expected[index]}), 1e-4);
    } else {
      ++failed;
      EXPECT_NE(answer.status.message().find("does not fit"), std::string_view::npos) << answer.status.c_str();
    }
  }));
  EXPECT_GT(failed, 0U);
  EXPECT_GT(answered, 0U);
  EXPECT_EQ(failed + answered, queries.size());
}

TEST(CudaTasks, OnOneTextPartWhereTheFirstOfThemChangesSomething) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Mix mix(seed);
  constexpr testing_util::ModelShape kDeep{64, 4, 2, 100, 211, 96, 2};
  mix.base = testing_util::random_base(kDeep, seed);
  mix.tasks.clear();
  constexpr uint32_t kTasks = 8, kTokens = 20;
  // Heads alone, tasks that change the last layer, and tasks that change the last two.
  for (uint32_t i = 0; i < kTasks; ++i) {
    testing_util::PetOptions options;
    options.first_layer = i % 4 < 2 ? 3 : 2;
    const auto kind = i % 2 == 0 ? testing_util::PetKind::kLoraAll : testing_util::PetKind::kHoulsby;
    mix.tasks.push_back(testing_util::random_task(mix.base, kind, static_cast<converter::HeadType>(i % 6 + 1), "task " + std::to_string(i),
                                                  mix.random(), options));
    if (i < 2) mix.tasks.back().operators.clear();
  }
  const testing_util::TemporaryFile file("cuda_forks.pets");
  testing_util::write_random_bundle(file.path(), mix.base, mix.tasks);
  const auto cuda = session_of(file.path(), Backend::kCuda), cpu = session_of(file.path(), Backend::kCpu);
  ASSERT_TRUE(cuda != nullptr && cpu != nullptr);
  const std::vector<int32_t> ids = [&] {
    std::vector<int32_t> made(kTokens);
    for (int32_t& id : made) id = static_cast<int32_t>(mix.random() % kDeep.vocabulary);
    return made;
  }();
  const auto on_one_text = [&](uint32_t first, uint32_t count) {
    std::vector<Query> queries(count);
    for (uint32_t i = 0; i < count; ++i) {
      queries[i].task = mix.tasks[first + i].name;
      queries[i].ids = ids;
      queries[i].has_ids = true;
    }
    return queries;
  };
  uint64_t rows = 0;
  const auto rows_of = [&](const std::vector<Query>& queries) {
    for (int time = 0; time < 3; ++time) {  // launches, captured, replayed
      EXPECT_LE(largest_error(queries, run_all(*cuda, queries), run_all(*cpu, queries)), 2e-5);
    }
    const uint64_t before = std::exchange(rows, cuda->device_counters().layer_rows);
    EXPECT_EQ((rows - before) % 3, 0U);
    return (rows - before) / 3;
  };
  EXPECT_EQ(rows_of(on_one_text(0, 1)), 4 * kTokens);
  EXPECT_EQ(rows_of(on_one_text(0, 2)), 4 * kTokens) << "two heads";
  EXPECT_EQ(rows_of(on_one_text(4, 2)), (3 + 2) * kTokens) << "two tasks in the last layer";
  // Two layers once; then two heads on one text's rows, and six tasks on their own.
  EXPECT_EQ(rows_of(on_one_text(0, kTasks)), (2 + 2 * 7) * kTokens);
}

TEST(CudaTasks, AddedLaterAreServedByASessionThatWasMadeBefore) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Mix mix(seed);
  const testing_util::TemporaryFile file("cuda_base_only.pets"), delta("cuda_later.pets");
  testing_util::write_random_bundle(file.path(), mix.base, {});
  testing_util::write_random_delta(delta.path(), mix.base, mix.tasks);
  const auto model = model_of(file.path(), Backend::kCuda), cpu = model_of(file.path(), Backend::kCpu);
  ASSERT_TRUE(model != nullptr && cpu != nullptr);
  auto session = Session::create(model), cpu_session = Session::create(cpu);
  ASSERT_TRUE(session && cpu_session) << session.status().c_str();
  ASSERT_TRUE(model->add_tasks(delta.c_str()));
  ASSERT_TRUE(cpu->add_tasks(delta.c_str()));
  const auto queries = mix.queries(2 * mix.tasks.size(), 8);
  EXPECT_LE(largest_error(queries, run_all(**session, queries), run_all(**cpu_session, queries)), 1e-5);
}

TEST(CudaTasks, WhatTheDeviceCannotTakeIsItsOwnTasksErrorAlone) {
  Mix mix(7);
  // Beyond half precision, and beyond what shared memory takes.
  auto large =
      testing_util::random_task(mix.base, testing_util::PetKind::kLoraQueryValue, converter::HeadType::kSequenceClassification, "large", 1);
  ASSERT_FALSE(large.operators.empty());
  bool changed = false;
  for (auto& op : large.operators) {
    if (auto* low_rank = std::get_if<converter::LowRankOperator>(&op.body)) {
      low_rank->a.values[0] = 1e6F;
      changed = true;
    }
  }
  ASSERT_TRUE(changed);
  testing_util::PetOptions wide;
  wide.bottleneck = 8192;
  const auto deep =
      testing_util::random_task(mix.base, testing_util::PetKind::kHoulsby, converter::HeadType::kSequenceClassification, "deep", 2, wide);
  std::vector<converter::PetTask> tasks = mix.tasks;
  tasks.push_back(large);
  tasks.push_back(deep);
  const testing_util::TemporaryFile file("cuda_limits.pets");
  testing_util::write_random_bundle(file.path(), mix.base, tasks, Precision::kFloat16);
  const auto session = session_of(file.path(), Backend::kCuda);
  ASSERT_TRUE(session != nullptr);
  auto queries = mix.queries(mix.tasks.size(), 6);
  for (const char* name : {"large", "deep"}) {
    queries.insert(queries.begin() + 3, queries[0]);
    queries[3].task = name;
  }
  std::map<std::string_view, std::string> failed;
  EXPECT_TRUE(session->run(queries, [&](size_t index, const Answer& answer) {
    if (!answer.status) failed[queries[index].task] = answer.status.c_str();
  }));
  EXPECT_EQ(failed.size(), 2U);
  EXPECT_NE(failed["large"].find("task 'large': a weight is beyond the range of half precision"), std::string::npos) << failed["large"];
  EXPECT_NE(failed["deep"].find("task 'deep': layer 0: a bottleneck of 8192 needs"), std::string::npos) << failed["deep"];
}

TEST(CudaTasks, AHeadThatIsWiderInsideThanPlannedIsRefusedByName) {
  using converter::Activation;
  Mix mix(11);
  const auto with_layers = [&](const char* name, std::vector<uint32_t> outputs) {
    auto task = testing_util::random_task(mix.base, testing_util::PetKind::kNone, converter::HeadType::kEmbedding, name, 3);
    uint64_t in = kShape.hidden;
    for (const uint32_t out : outputs) {
      task.head.layers.push_back({{out, in, std::vector<float>(out * in, 0.1F)}, std::vector<float>(out), Activation::kNone});
      in = out;
    }
    return task;
  };
  const testing_util::TemporaryFile file("cuda_wide.pets"), delta("cuda_wide_delta.pets");
  testing_util::write_random_bundle(file.path(), mix.base, {with_layers("first", {200})});
  testing_util::write_random_delta(delta.path(), mix.base, {with_layers("wide", {100, 2}), with_layers("narrow", {64, 2})});
  const auto session = session_of(file.path(), Backend::kCuda);
  ASSERT_NE(session, nullptr);
  ASSERT_TRUE(session->model().add_tasks(delta.c_str()));
  auto queries = mix.queries(3, 6);
  queries[0].task = "wide";
  queries[1].task = "narrow";
  queries[2].task = "first";
  EXPECT_TRUE(session->run(queries, [&](size_t index, const Answer& answer) {
    if (index != 0) {
      EXPECT_TRUE(answer.status) << answer.status.c_str();
      return;
    }
    EXPECT_EQ(
        answer.status.message(),
        "task 'wide' was added after this session was made and its head has a layer of 100 outputs, planned are 64: make a new session");
  }));
}

TEST(CudaBackendShape, IsRefusedWhereTilesDoNotFit) {
  const auto base = testing_util::random_base({56, 1, 2, 112, 211, 96, 2}, 1);
  const testing_util::TemporaryFile file("cuda_shape.pets");
  testing_util::write_random_bundle(file.path(), base, {});
  ModelOptions options;
  options.backend = Backend::kCuda;
  const auto model = Model::load(file.c_str(), options);
  ASSERT_FALSE(model);
  EXPECT_NE(model.status().message().find("hidden size: expected a multiple of 16"), std::string_view::npos) << model.status().c_str();
}

}  // namespace
}  // namespace pets
