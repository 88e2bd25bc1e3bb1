// Queries that were read before they run, with and without padding: the bits of a run that reads them itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/testing_util/random_model.h"

#include "pets/pets.h"
#include "runtime/engine/session_impl.h"

namespace pets {
namespace {

std::vector<uint32_t> logit_bits(std::span<const float> values) {
  std::vector<uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size_bytes());
  return bits;
}

TEST(PreparedQuery, PaddingAndReadingBeforeKeepTheBits) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto base = testing_util::random_base({}, seed);
  std::vector<converter::PetTask> tasks;
  uint32_t head = 1;
  for (const auto kind : testing_util::kAllPetKinds) {
    for (int i = 0; i < 2; ++i, head = head % 6 + 1) {
      tasks.push_back(testing_util::random_task(base, kind, static_cast<converter::HeadType>(head),
                                                testing_util::pet_kind_name(kind) + std::to_string(i), random()));
    }
  }
  const testing_util::TemporaryFile file("prepared.pets");
  testing_util::write_random_bundle(file.path(), base, tasks);
  auto model = Model::load(file.c_str());
  ASSERT_TRUE(model) << model.status().c_str();
  SessionOptions options;
  options.threads = 2;
  options.max_batch_tokens = 300;
  auto session = Session::create(*model, options);
  ASSERT_TRUE(session) << session.status().c_str();

  const size_t count = 60;
  std::vector<std::vector<int32_t>> ids(count);
  std::vector<std::vector<tokenizer::Token>> tokens(count);
  std::vector<Query> queries(count);
  std::vector<engine::PreparedQuery> plain(count), padded(count);
  Model::Impl& internals = (*model)->impl();
  internals.tasks.view([&](const engine::TaskSet& set) {
    for (size_t q = 0; q < count; ++q) {
      const size_t task = random() % tasks.size();
      ids[q].resize(1 + random() % 40);
      for (int32_t& id : ids[q]) id = static_cast<int32_t>(random() % base.vocabulary);
      for (const int32_t id : ids[q]) tokens[q].push_back({id, 0, 0, 0, false});
      queries[q].task = tasks[task].name;
      queries[q].ids = ids[q];
      queries[q].has_ids = true;
      plain[q].task = set.tasks[*set.find(tasks[task].name)].get();
      plain[q].tokens = tokens[q];
      padded[q] = plain[q];
      padded[q].padded_rows = 1 + static_cast<uint32_t>(random() % 60);  // some below the query's own rows
    }
  });
  padded[11].padded_rows = base.positions + 1;

  std::vector<std::vector<uint32_t>> expected(count);
  ASSERT_TRUE((*session)->run(queries, [&](size_t index, const Answer& answer) {
    ASSERT_TRUE(answer.status) << answer.status.c_str();
    expected[index] = logit_bits(answer.logits);
  }));
  for (const auto& prepared : {plain, padded}) {
    std::vector<size_t> answered;
    const auto check = [&](size_t index, const Answer& answer) {
      answered.push_back(index);
      if (prepared[index].padded_rows > base.positions) {
        EXPECT_EQ(answer.status.code(), ErrorCode::kInvalidArgument);
        return;
      }
      ASSERT_TRUE(answer.status) << answer.status.c_str();
      EXPECT_EQ(logit_bits(answer.logits), expected[index]) << "query " << index << " of " << answer.task->name;
      EXPECT_EQ(answer.tokens.size(), ids[index].size());
    };
    (*session)->impl().run_prepared(
        prepared, [](void* context, size_t index, const Answer& answer) { (*static_cast<decltype(check)*>(context))(index, answer); },
        const_cast<void*>(static_cast<const void*>(&check)));
    EXPECT_EQ(answered.size(), count);
    EXPECT_TRUE(std::is_sorted(answered.begin(), answered.end()));
  }
}

}  // namespace
}  // namespace pets
