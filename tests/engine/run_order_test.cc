// A run whose queries may be taken in any order: every query is answered once, with the bits that input order gives.
#include "runtime/engine/run_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/testing_util/random_model.h"

#include "pets/pets.h"
#include "runtime/engine/model_impl.h"

namespace pets {
namespace {

struct Answers {
  std::vector<size_t> order;               // of the callbacks
  std::vector<std::vector<float>> logits;  // by query; empty where it failed
  std::vector<std::string> tasks;          // by callback; empty where it failed
};

Answers run_all(Session& session, const std::vector<Query>& queries) {
  Answers run;
  run.logits.resize(queries.size());
  EXPECT_TRUE(session.run(queries, [&](size_t index, const Answer& answer) {
    run.order.push_back(index);
    run.tasks.emplace_back(answer.status ? answer.task->name : "");
    if (answer.status) run.logits[index].assign(answer.logits.begin(), answer.logits.end());
  }));
  return run;
}

TEST(RunOrder, AnyOrderBringsTasksTogetherAndKeepsTheBits) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto base = testing_util::random_base({}, seed);
  std::vector<converter::PetTask> tasks;
  for (const auto kind : testing_util::kAllPetKinds) {
    tasks.push_back(
        testing_util::random_task(base, kind, converter::HeadType::kSequenceClassification, testing_util::pet_kind_name(kind), random()));
  }
  const testing_util::TemporaryFile file("run_order.pets");
  testing_util::write_random_bundle(file.path(), base, tasks);
  auto model = Model::load(file.c_str());
  ASSERT_TRUE(model) << model.status().c_str();
  SessionOptions options;
  options.threads = 2;
  options.max_batch_tokens = 100;
  options.max_batch_queries = 40;
  auto ordered = Session::create(*model, options);
  options.any_order = true;
  auto unordered = Session::create(*model, options);
  ASSERT_TRUE(ordered && unordered);
  const auto planned = plan(file.c_str(), {}, options);
  ASSERT_TRUE(planned) << planned.status().c_str();
  EXPECT_EQ((*unordered)->arena_bytes(), planned->arena_bytes);

  // More than one window, with unknown tasks and a query that no batch holds.
  const size_t count = engine::RunOrder::kWindow + 500;
  std::vector<int32_t> ids(101);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % base.vocabulary);
  std::vector<Query> queries(count);
  for (Query& query : queries) {
    const size_t task = random() % (tasks.size() + 1);
    query.task = task == tasks.size() ? std::string_view("unknown") : std::string_view(tasks[task].name);
    query.ids = std::span<const int32_t>(ids).first(1 + random() % 3);
    query.has_ids = true;
  }
  queries[7].task = tasks[0].name;
  queries[7].ids = ids;

  const Answers expected = run_all(**ordered, queries), found = run_all(**unordered, queries);
  EXPECT_TRUE(std::is_sorted(expected.order.begin(), expected.order.end()));
  std::vector<size_t> every = found.order;
  std::sort(every.begin(), every.end());
  ASSERT_EQ(every, expected.order);
  for (size_t i = 0; i < count; ++i) {
    ASSERT_EQ(found.logits[i].size(), expected.logits[i].size()) << "query " << i;
    ASSERT_EQ(std::memcmp(found.logits[i].data(), expected.logits[i].data(), found.logits[i].size() * sizeof(float)), 0) << "query " << i;
  }
  EXPECT_TRUE(found.logits[7].empty());
  // In a window every task begins once.
  size_t begins = 0;
  for (size_t i = 1; i < count; ++i) begins += !found.tasks[i].empty() && found.tasks[i] != found.tasks[i - 1] ? 1 : 0;
  EXPECT_LE(begins, 2 * (tasks.size() + 2));
}

TEST(RunOrder, NeighboursOfOneTextThatCanShareRowsStayTogether) {
  const auto base = testing_util::random_base({}, 1);
  std::vector<converter::PetTask> tasks;
  const auto add = [&](testing_util::PetKind kind, const char* name, uint32_t first_layer) {
    testing_util::PetOptions options;
    options.first_layer = first_layer;
    tasks.push_back(testing_util::random_task(base, kind, converter::HeadType::kSequenceClassification, name, tasks.size(), options));
  };
  add(testing_util::PetKind::kLoraAll, "all layers", 0);
  add(testing_util::PetKind::kNone, "head", 0);
  add(testing_util::PetKind::kLoraAll, "upper layer", 1);
  const testing_util::TemporaryFile file("run_order_groups.pets");
  testing_util::write_random_bundle(file.path(), base, tasks);
  auto model = Model::load(file.c_str());
  ASSERT_TRUE(model) << model.status().c_str();

  const std::string first = "first", second = "second";
  std::vector<Query> queries;
  const auto ask = [&](std::string_view task, std::string_view text) {
    queries.emplace_back();
    queries.back().task = task;
    queries.back().text = text;
  };
  for (const auto& text : {std::string_view(first), std::string_view(second)}) {
    for (const char* task : {"upper layer", "all layers", "unknown", "head", "upper layer"}) ask(task, text);
  }
  ask("head", first);
  memory::Arena counting;
  engine::RunOrder().lay_out(counting);
  auto block = memory::Block::allocate(counting.used());
  ASSERT_TRUE(block);
  memory::Arena arena(block->data(), block->size());
  engine::RunOrder order;
  order.lay_out(arena);
  std::vector<size_t> taken;
  (*model)->impl().tasks.view([&](const engine::TaskSet& set) {
    const size_t count = order.open_window(set, queries, 0);
    for (size_t i = 0; i < count; ++i) taken.push_back(order.query(i));
  });
  EXPECT_EQ(taken, (std::vector<size_t>{1, 6, 10, 0, 3, 4, 5, 8, 9, 2, 7}));
}

}  // namespace
}  // namespace pets
