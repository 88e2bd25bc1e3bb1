// The plan is what is used, to the byte, and limits are kept.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/testing_util/random_model.h"

#include "pets/pets.h"

namespace pets {
namespace {

using converter::HeadType;
using testing_util::PetKind;
using testing_util::TemporaryFile;

class PlanTest : public testing::Test {
 protected:
  PlanTest() : base_(testing_util::random_base({}, 77)), bundle_("plan.pets"), delta_("plan-delta.pets") {
    testing_util::add_tokenizer(base_);
    for (const auto kind : testing_util::kAllPetKinds) {
      tasks_.push_back(testing_util::random_task(base_, kind, HeadType::kSequenceClassification, testing_util::pet_kind_name(kind), 3));
    }
    testing_util::write_random_bundle(bundle_.path(), base_, tasks_);
    testing_util::PetOptions wide;
    wide.bottleneck = 200;
    testing_util::write_random_delta(
        delta_.path(), base_, {testing_util::random_task(base_, PetKind::kHoulsby, HeadType::kTokenClassification, "wide", 3, wide)});
  }
  converter::BaseModel base_;
  std::vector<converter::PetTask> tasks_;
  TemporaryFile bundle_, delta_;
};

TEST_F(PlanTest, ForetellsWhatIsUsedInEveryPrecision) {
  for (const converter::Precision precision : testing_util::kAllPrecisions) {
    const TemporaryFile bundle("plan-precision.pets");
    testing_util::write_random_bundle(bundle.path(), base_, tasks_, precision);
    for (const uint32_t threads : {1U, 4U}) {
      for (const uint32_t tokens : {64U, 1000U}) {
        SCOPED_TRACE(std::string(converter::precision_name(precision)) + ", threads " + std::to_string(threads));
        SessionOptions options;
        options.threads = threads;
        options.max_batch_tokens = tokens;
        const auto foretold = plan(bundle.c_str(), {}, options, {delta_.path()});
        ASSERT_TRUE(foretold) << foretold.status().c_str();
        auto model = Model::load(bundle.c_str());
        ASSERT_TRUE(model) << model.status().c_str();
        ASSERT_TRUE((*model)->add_tasks(delta_.c_str()));
        auto session = Session::create(*model, options);
        ASSERT_TRUE(session) << session.status().c_str();
        const Plan used = (*model)->memory();
        EXPECT_EQ(foretold->mapped_bytes, used.mapped_bytes);
        EXPECT_EQ(foretold->model_bytes, used.model_bytes);
        EXPECT_EQ(foretold->arena_bytes, (*session)->arena_bytes());
        EXPECT_EQ(foretold->total_bytes, used.total_bytes);
      }
    }
  }
}

TEST_F(PlanTest, ALimitIsKeptToTheByte) {
  SessionOptions session_options;
  session_options.threads = 2;
  const auto foretold = plan(bundle_.c_str(), {}, session_options);
  ASSERT_TRUE(foretold);
  ModelOptions options;
  options.memory_limit = foretold->total_bytes;
  {
    auto model = Model::load(bundle_.c_str(), options);
    ASSERT_TRUE(model) << model.status().c_str();
    EXPECT_TRUE(Session::create(*model, session_options));
    const Status added = (*model)->add_tasks(delta_.c_str());
    EXPECT_TRUE(added) << "the session above is gone: " << added.c_str();
  }
  options.memory_limit = foretold->total_bytes - 1;
  auto model = Model::load(bundle_.c_str(), options);
  ASSERT_TRUE(model) << "the model alone fits";
  const auto session = Session::create(*model, session_options);
  ASSERT_FALSE(session);
  EXPECT_EQ(session.status().code(), ErrorCode::kResourceExhausted);
  for (const uint64_t number : {foretold->total_bytes, options.memory_limit}) {
    EXPECT_NE(session.status().message().find(std::to_string(number)), std::string_view::npos) << session.status().c_str();
  }
  options.memory_limit = 1000;
  const auto refused = Model::load(bundle_.c_str(), options);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.status().message().find("1000"), std::string_view::npos) << refused.status().c_str();
}

TEST_F(PlanTest, ADeltaOverTheLimitIsRefused) {
  ModelOptions options;
  const auto foretold = plan(bundle_.c_str());
  ASSERT_TRUE(foretold);
  options.memory_limit = foretold->mapped_bytes + foretold->model_bytes + 100;
  auto model = Model::load(bundle_.c_str(), options);
  ASSERT_TRUE(model) << model.status().c_str();
  const size_t tasks = (*model)->tasks().size();
  EXPECT_EQ((*model)->add_tasks(delta_.c_str()).code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ((*model)->tasks().size(), tasks);
}

TEST_F(PlanTest, BadOptionsAreRefusedByName) {
  auto model = Model::load(bundle_.c_str());
  ASSERT_TRUE(model);
  SessionOptions options;
  options.max_batch_tokens = 0;
  EXPECT_NE(Session::create(*model, options).status().message().find("max_batch_tokens"), std::string_view::npos);
  EXPECT_FALSE(plan(bundle_.c_str(), {}, options));
  options = {};
  options.threads = 100000;
  EXPECT_NE(Session::create(*model, options).status().message().find("threads"), std::string_view::npos);
  EXPECT_EQ(Model::load("no/such/file.pets").status().code(), ErrorCode::kNotFound);
  EXPECT_FALSE(Model::load(delta_.c_str())) << "a delta bundle has no base";
}

TEST_F(PlanTest, AnInstructionSetCanBeForced) {
  ::setenv("PETS_ISA", "portable", 1);
  auto portable = Model::load(bundle_.c_str());
  ASSERT_TRUE(portable) << portable.status().c_str();
  EXPECT_EQ((*portable)->isa(), "portable");
  ::setenv("PETS_ISA", "mmx", 1);
  EXPECT_NE(Model::load(bundle_.c_str()).status().message().find("'mmx'"), std::string_view::npos);
#if defined(__x86_64__)
  ::setenv("PETS_ISA", "neon", 1);
  const auto neon = Model::load(bundle_.c_str());
  EXPECT_EQ(neon.status().code(), ErrorCode::kUnsupported);
  EXPECT_NE(neon.status().message().find("it has portable"), std::string_view::npos) << "names what can be forced here";
#endif
  ::unsetenv("PETS_ISA");
}

TEST_F(PlanTest, ABadQueryGetsItsOwnErrorAndTheOthersGoOn) {
  auto model = Model::load(bundle_.c_str());
  ASSERT_TRUE(model);
  SessionOptions options;
  options.max_batch_tokens = 40;
  auto session = Session::create(*model, options);
  ASSERT_TRUE(session);
  const std::vector<int32_t> good{2, 9, 3}, beyond{2, static_cast<int32_t>(base_.vocabulary), 3}, negative{-1}, none,
      longer(base_.positions + 1, 5), wide(41, 5);
  struct Expectation {
    const std::vector<int32_t>* ids;
    const char* error;  // null: answered
  };
  const Expectation expectations[] = {{&good, nullptr},     {&beyond, "ids[1]"},         {&negative, "found -1"}, {&none, "found none"},
                                      {&longer, "at most"}, {&wide, "max_batch_tokens"}, {&good, nullptr}};
  std::vector<Query> queries;
  for (const Expectation& expectation : expectations) {
    Query query;
    query.task = "bitfit";
    query.ids = *expectation.ids;
    query.has_ids = true;
    queries.push_back(query);
  }
  size_t next = 0;
  std::vector<float> first;
  ASSERT_TRUE((*session)->run(queries, [&](size_t index, const Answer& answer) {
    ASSERT_EQ(index, next++);
    const char* error = expectations[index].error;
    ASSERT_EQ(answer.status.is_ok(), error == nullptr) << answer.status.c_str();
    if (error != nullptr) {
      EXPECT_NE(answer.status.message().find(error), std::string_view::npos) << answer.status.c_str();
    }
    if (index == 0) first.assign(answer.logits.begin(), answer.logits.end());
    if (index == 6) {
      EXPECT_TRUE(std::equal(first.begin(), first.end(), answer.logits.begin()));
    }
  }));
  EXPECT_EQ(next, queries.size());
}

TEST_F(PlanTest, AThousandTasksLoadAndRun) {
  std::vector<converter::PetTask> tasks;
  for (int i = 0; i < 1000; ++i) {
    tasks.push_back(
        testing_util::random_task(base_, testing_util::kAllPetKinds[i % 5], HeadType::kRegression, "task-" + std::to_string(i), i));
  }
  const TemporaryFile file("thousand.pets");
  testing_util::write_random_bundle(file.path(), base_, tasks);
  auto model = Model::load(file.c_str());
  ASSERT_TRUE(model) << model.status().c_str();
  EXPECT_TRUE((*model)->quarantined().empty());
  auto session = Session::create(*model);
  ASSERT_TRUE(session) << session.status().c_str();
  const std::vector<int32_t> ids{2, 9, 8, 3};
  std::vector<Query> queries(tasks.size());
  for (size_t i = 0; i < tasks.size(); ++i) {
    queries[i].task = tasks[i].name;
    queries[i].ids = ids;
    queries[i].has_ids = true;
  }
  size_t good = 0;
  ASSERT_TRUE((*session)->run(queries, [&](size_t, const Answer& answer) { good += answer.status.is_ok() && answer.logits.size() == 1; }));
  EXPECT_EQ(good, tasks.size());
}

}  // namespace
}  // namespace pets
