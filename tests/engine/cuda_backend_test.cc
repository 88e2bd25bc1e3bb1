// The CUDA backend against the CPU: the whole engine, its kernels emulated where no GPU is.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tests/engine/cuda_answers.h"
#include "tests/testing_util/random_model.h"

#include "pets/pets.h"

namespace pets {
namespace {

using converter::Precision;
using testing_util::kAllPetKinds;

constexpr testing_util::ModelShape kShape{64, 2, 2, 100, 211, 96, 2};  // an intermediate size that tiles do not take

/// Tasks of every kind, and queries of uneven lengths that mix them.
struct Mix {
  explicit Mix(uint64_t seed) : random(seed), base(testing_util::random_base(kShape, seed)) {
    uint32_t head = 1;
    for (const auto kind : kAllPetKinds) {
      tasks.push_back(
          testing_util::random_task(base, kind, static_cast<converter::HeadType>(head), testing_util::pet_kind_name(kind), random()));
      head = head % 6 + 1;
    }
  }
  std::vector<Query> queries(size_t count, uint32_t longest) {
    ids.clear();
    std::vector<Query> made(count);
    for (size_t i = 0; i < count; ++i) {
      ids.emplace_back(1 + random() % longest);
      for (int32_t& id : ids.back()) id = static_cast<int32_t>(random() % kShape.vocabulary);
    }
    for (size_t i = 0; i < count; ++i) {
      made[i].task = tasks[i % tasks.size()].name;
      made[i].ids = ids[i];
      made[i].has_ids = true;
    }
    std::shuffle(made.begin(), made.end(), random);
    return made;
  }

  std::mt19937_64 random;
  converter::BaseModel base;
  std::vector<converter::PetTask> tasks;
  std::vector<std::vector<int32_t>> ids;
};

/// The root mean square of a task's differences as a part of that of its logits: of the task where it is largest. A single logit near zero
/// does not decide, a task that is computed wrong gives about 1.
double largest_error(const std::vector<Query>& queries, const Logits& found, const Logits& expected) {
  std::map<std::string_view, std::pair<double, double>> squares;  // of differences, of logits
  for (size_t q = 0; q < expected.size(); ++q) {
    EXPECT_EQ(found[q].size(), expected[q].size());
    auto& [difference, size] = squares[queries[q].task];
    for (size_t i = 0; i < expected[q].size(); ++i) {
      difference += std::pow(double{found[q][i]} - double{expected[q][i]}, 2);
      size += std::pow(double{expected[q][i]}, 2);
    }
  }
  double largest = 0;
  for (const auto& [task, sums] : squares) largest = std::max(largest, std::sqrt(sums.first / std::max(sums.second, 1e-12)));
  return largest;
}

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
  EXPECT_EQ(run_all(*cuda, queries), copies);
}

TEST(CudaServer, AnswersAsASessionDoes) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Mix mix(seed);
  const testing_util::TemporaryFile file("cuda_server.pets");
  testing_util::write_random_bundle(file.path(), mix.base, mix.tasks);
  ModelOptions model_options;
  model_options.backend = Backend::kCuda;
  auto model = Model::load(file.c_str(), model_options);
  ASSERT_TRUE(model) << model.status().c_str();
  const auto queries = mix.queries(2 * mix.tasks.size(), 8);
  Logits expected;
  {
    auto session = Session::create(*model);
    ASSERT_TRUE(session) << session.status().c_str();
    expected = run_all(**session, queries);
  }
  for (const Strategy strategy : {Strategy::kPacked, Strategy::kCoordinated}) {
    ServerOptions options;
    options.strategy = strategy;
    options.fit_seconds = 0;
    auto server = Server::create(*model, options);
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
  const auto queries = mix.queries(4 * mix.tasks.size(), 12);
  SessionOptions options;
  const auto all = session_of(file.path(), Backend::kCuda, options);
  options.device_task_bytes = 200 << 10;  // the largest fits, not all
  const auto few = session_of(file.path(), Backend::kCuda, options);
  ASSERT_TRUE(all != nullptr && few != nullptr);
  const Logits expected = run_all(*all, queries);
  EXPECT_EQ(run_all(*few, queries), expected);
  EXPECT_EQ(run_all(*few, queries), expected);
  options.device_task_bytes = 1 << 10;  // no adapter fits
  const auto none = session_of(file.path(), Backend::kCuda, options);
  ASSERT_TRUE(none != nullptr);
  size_t failed = 0, answered = 0;
  EXPECT_TRUE(none->run(queries, [&](size_t index, const Answer& answer) {
    if (answer.status) {
      ++answered;
      EXPECT_TRUE(std::equal(answer.logits.begin(), answer.logits.end(), expected[index].begin(), expected[index].end()));
    } else {
      ++failed;
      EXPECT_NE(answer.status.message().find("does not fit"), std::string_view::npos) << answer.status.c_str();
    }
  }));
  EXPECT_GT(failed, 0U);
  EXPECT_GT(answered, 0U);
  EXPECT_EQ(failed + answered, queries.size());
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
