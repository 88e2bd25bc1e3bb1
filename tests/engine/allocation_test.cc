// After load, running allocates nothing: malloc and mmap are interposed for the whole process, worker threads and tokenizer included.
#include <gtest/gtest.h>

#include "tests/testing_util/allocations.h"
#include "tests/testing_util/random_model.h"

#include "pets/pets.h"

namespace pets {
namespace {

using testing_util::kAllPetKinds;

TEST(Allocation, TheInterposedFunctionsAreTheOnesInUse) {
  testing_util::start_counting_allocations();
  void* block = ::operator new(64);
  const int allocations = testing_util::stop_counting_allocations();
  ::operator delete(block);
  EXPECT_GE(allocations, 1);
}

class PrecisionAllocation : public testing::TestWithParam<converter::Precision> {};

TEST_P(PrecisionAllocation, NothingIsAllocatedFromTheSecondBatchOn) {
  auto base = testing_util::random_base({}, 5);
  testing_util::add_tokenizer(base);
  std::vector<converter::PetTask> tasks;
  uint32_t head = 1;
  for (const auto kind : kAllPetKinds) {
    testing_util::PetOptions options;
    options.first_layer = static_cast<uint32_t>(tasks.size() % base.layers);
    tasks.push_back(
        testing_util::random_task(base, kind, static_cast<converter::HeadType>(head), testing_util::pet_kind_name(kind), head, options));
    head = head % 6 + 1;
  }
  const testing_util::TemporaryFile file("allocation.pets");
  testing_util::write_random_bundle(file.path(), base, tasks, GetParam());
  auto model = Model::load(file.c_str());
  ASSERT_TRUE(model) << model.status().c_str();
  SessionOptions options;
  options.threads = 3;
  options.max_batch_tokens = 200;
  options.any_order = GetParam() != converter::Precision::kFloat16;  // both ways
  auto session = Session::create(*model, options);
  ASSERT_TRUE(session) << session.status().c_str();

  const std::string long_text(5000, 'q');
  const std::string_view texts[] = {"the film was good", "na\xC3\xAFve \xE4\xB8\xAD\xE6\x96\x87!", long_text, "", "broken \xFF utf-8"};
  std::vector<Query> queries;
  const auto ask = [&](const converter::PetTask& task, std::string_view text) {
    Query query;
    query.task = task.name;
    query.text = text;
    query.text_pair = "who was bad? nobody.";
    query.has_text_pair = true;
    queries.push_back(query);
  };
  for (const auto& task : tasks) {
    for (const std::string_view text : texts) ask(task, text);
  }
  for (const std::string_view text : texts) {  // the same once more, sharing rows
    for (const auto& task : tasks) ask(task, text);
  }
  Query unknown;
  unknown.task = "no such task";
  queries.push_back(unknown);

  size_t answers = 0, failures = 0;
  const auto count = [&](size_t, const Answer& answer) { ++(answer.status ? answers : failures); };
  ASSERT_TRUE((*session)->run(queries, count));
  testing_util::start_counting_allocations();
  const Status second = (*session)->run(queries, count);
  const int allocations = testing_util::stop_counting_allocations();
  EXPECT_TRUE(second);
  EXPECT_EQ(allocations, 0);
  EXPECT_EQ(answers, 2 * 2 * 4 * tasks.size());
  EXPECT_EQ(failures, 2 * (2 * tasks.size() + 1));
}

INSTANTIATE_TEST_SUITE_P(EveryPrecision, PrecisionAllocation, testing::ValuesIn(testing_util::kAllPrecisions),
                         [](const auto& test) { return std::string(converter::precision_name(test.param)); });

}  // namespace
}  // namespace pets
