// Which products are tuned, and when: as the emulated device notes it.
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "tests/engine/cuda_mix.h"

#include "pets/pets.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/emulation/products.h"
#include "runtime/cuda/product_plans.h"

namespace pets {
namespace {

using cuda_mix::Mix;

class CudaTuning : public testing::Test {
 protected:
  CudaTuning() : mix_(7), file_("cuda_tuning.pets") {
    testing_util::write_random_bundle(file_.path(), mix_.base, mix_.tasks);
    noted_ = {};
  }
  /// Of captured batches with one number of rows. One product stays as it is: the pooler's, of some rows a batch.
  void expect_tuned(const std::string& batch) const {
    std::vector<cuda::emulation::ProductSizes> untuned;
    std::set_difference(noted_.captured.begin(), noted_.captured.end(), noted_.tuned.begin(), noted_.tuned.end(),
                        std::back_inserter(untuned));
    EXPECT_LE(untuned.size(), 1U) << batch;
    for (const auto& product : untuned) {
      const uint32_t hidden = cuda_mix::kShape.hidden;
      EXPECT_EQ(product, (cuda::emulation::ProductSizes{product.rows, hidden, hidden, hidden})) << batch;
    }
    EXPECT_EQ(noted_.tuned.size() + untuned.size(), noted_.captured.size()) << batch << ": tuned, but not used";
    EXPECT_GE(noted_.tuned.size(), 4U) << batch;
  }
  std::unique_ptr<Session> session(SessionOptions options = {}) { return session_of(file_.path(), Backend::kCuda, options); }

  Mix mix_;
  testing_util::TemporaryFile file_;
  cuda::emulation::ProductRecord& noted_ = cuda::emulation::products();
};

TEST_F(CudaTuning, EveryProductOfACapturedBatchWasTunedAndNoOther) {
  const auto tuned = session();
  ASSERT_NE(tuned, nullptr);
  const auto queries = mix_.queries(2 * mix_.tasks.size(), 10);
  const auto expected = run_all(*tuned, queries);
  EXPECT_TRUE(noted_.tuned.empty()) << "a batch that comes once costs no tuning";
  for (int time = 0; time < 2; ++time) EXPECT_EQ(run_all(*tuned, queries), expected) << "what tuning leaves behind is read by nobody";
  EXPECT_EQ(tuned->device_counters().captures, 1U);
  expect_tuned("a mix");
}

TEST_F(CudaTuning, KnowsTheProductsOfEachTask) {  // with and without scaled inputs, heads that read a row or all
  const auto tuned = session();
  ASSERT_NE(tuned, nullptr);
  for (const converter::PetTask& task : mix_.tasks) {
    auto queries = mix_.queries(3, 40);
    for (Query& query : queries) query.task = task.name;
    noted_ = {};
    for (int time = 0; time < 2; ++time) run_all(*tuned, queries);
    expect_tuned(task.name);
  }
}

TEST_F(CudaTuning, KnowsTheRowsOfTasksOnOneText) {
  const auto tuned = session();
  ASSERT_NE(tuned, nullptr);
  const std::vector<int32_t> ids(40, 7);
  std::vector<Query> queries(mix_.tasks.size());
  for (size_t i = 0; i < queries.size(); ++i) {
    queries[i].task = mix_.tasks[i].name;
    queries[i].ids = ids;
    queries[i].has_ids = true;
  }
  const auto expected = run_all(*tuned, queries);
  EXPECT_EQ(run_all(*tuned, queries), expected);
  expect_tuned("all tasks on one text");
}

TEST_F(CudaTuning, IsLeftOutWhereItIsOffAndWithoutGraphs) {
  const auto queries = mix_.queries(mix_.tasks.size(), 10);
  SessionOptions off, launches;
  off.device_tuning = false;
  launches.device_graphs = false;
  for (const SessionOptions& options : {off, launches}) {
    const auto untuned = session(options);
    ASSERT_NE(untuned, nullptr);
    for (int time = 0; time < 3; ++time) run_all(*untuned, queries);
  }
  EXPECT_FALSE(noted_.captured.empty());
  EXPECT_TRUE(noted_.tuned.empty());
}

TEST(ProductPlans, KeepThoseUsedLast) {
  cuda::ProductPlans<int, 3> plans;
  const auto shape = [](uint32_t rows) { return cuda::ProductShape{.rows = rows}; };
  EXPECT_EQ(plans.find({}), nullptr) << "an unused place is nobody's";
  for (const uint32_t rows : {0U, 1U, 2U}) plans.add(shape(rows)) = static_cast<int>(rows) + 10;
  int* const first = plans.find(shape(0));
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(plans.add(shape(3)), 0) << "made anew";
  EXPECT_EQ(plans.find(shape(1)), nullptr) << "was not used for longest";
  EXPECT_EQ(plans.find(shape(0)), first);
  EXPECT_EQ(*first, 10);
  ASSERT_NE(plans.find(shape(2)), nullptr);
  EXPECT_EQ(*plans.find(shape(2)), 12);
}

TEST(ProductPlans, TellApartAllThatAnAlgorithmDependsOn) {
  cuda::ProductPlans<int> plans;
  const cuda::ProductShape shape{1, 32, 768, 3072, 3072, 64, 64, 64};
  plans.add(shape) = 1;
  cuda::ProductShape other[8];
  std::fill(std::begin(other), std::end(other), shape);
  other[0].type = 2;
  other[1].rows = 64;
  other[2].in = 3072;
  other[3].out = 768;
  other[4].out_stride = 768;
  other[5].x_alignment = 16;
  other[6].w_alignment = 16;
  other[7].y_alignment = 16;
  for (const cuda::ProductShape& each : other) EXPECT_EQ(plans.find(each), nullptr);
  EXPECT_NE(plans.find(shape), nullptr);
}

TEST(ProductPlans, AlignmentsBeyondAnArenasAreAlike) {
  const auto at = [](uintptr_t address) { return cuda::operand_alignment(reinterpret_cast<const void*>(address)); };
  EXPECT_EQ(at(0x1000), 64);
  EXPECT_EQ(at(0x1040), 64);
  EXPECT_EQ(at(0x1020), 32);
  EXPECT_EQ(at(0x1010), 16);
  EXPECT_EQ(at(0x1012), 2);
}

TEST(ProductPlans, OfAlgorithmsThatAreAlikeTheFirstIsTaken) {
  const auto chosen = [](std::vector<double> seconds) { return cuda::first_of_the_fastest(seconds); };
  EXPECT_EQ(chosen({3}), 0U);
  EXPECT_EQ(chosen({1.01, 1, 1.015}), 0U);
  EXPECT_EQ(chosen({1.03, 1.01, 1}), 1U);
  EXPECT_EQ(chosen({2, 3, 1}), 2U);
}

}  // namespace
}  // namespace pets
