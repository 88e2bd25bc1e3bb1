// Tasks come and go while sessions run: every answer is right for some whole set of tasks, and nothing is lost. Run under ThreadSanitizer
// too.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "tests/testing_util/random_model.h"

#include "pets/pets.h"

namespace pets {
namespace {

using converter::HeadType;
using testing_util::PetKind;
using testing_util::TemporaryFile;

constexpr uint64_t kSeed = 20221;

class HotAdd : public testing::Test {
 protected:
  HotAdd() : base_(testing_util::random_base({}, kSeed)), bundle_("hot-base.pets"), first_("hot-first.pets"), second_("hot-second.pets") {
    const auto task = [&](PetKind kind, const char* name, uint64_t seed) {
      return testing_util::random_task(base_, kind, HeadType::kSequenceClassification, name, seed);
    };
    testing_util::write_random_bundle(bundle_.path(), base_, {task(PetKind::kNone, "stays", 1), task(PetKind::kLoraAll, "also-stays", 2)});
    testing_util::write_random_delta(first_.path(), base_, {task(PetKind::kHoulsby, "a", 3), task(PetKind::kEverything, "b", 4)});
    testing_util::write_random_delta(second_.path(), base_, {task(PetKind::kDiffPruning, "a", 5), task(PetKind::kMaskBert, "b", 6)});
  }

  std::vector<float> logits(Session& session, std::string_view task) {
    Query query;
    query.task = task;
    query.ids = ids_;
    query.has_ids = true;
    std::vector<float> found;
    EXPECT_TRUE(session.run({&query, 1}, [&](size_t, const Answer& answer) {
      if (answer.status) found.assign(answer.logits.begin(), answer.logits.end());
    }));
    return found;
  }

  converter::BaseModel base_;
  TemporaryFile bundle_, first_, second_;
  std::vector<int32_t> ids_{2, 7, 11, 80, 3, 9, 14, 101, 3};
};

TEST_F(HotAdd, TasksAreAddedReplacedAndRemoved) {
  auto model = Model::load(bundle_.c_str());
  ASSERT_TRUE(model) << model.status().c_str();
  auto session = Session::create(*model);
  ASSERT_TRUE(session) << session.status().c_str();
  const auto stays = logits(**session, "stays");
  EXPECT_TRUE(logits(**session, "a").empty());
  ASSERT_TRUE((*model)->add_tasks(first_.c_str()));
  const auto first = logits(**session, "a");
  ASSERT_EQ(first.size(), 3U);
  EXPECT_EQ((*model)->tasks().size(), 4U);
  const uint64_t mapped = (*model)->memory().mapped_bytes;

  const Status taken = (*model)->add_tasks(second_.c_str());
  EXPECT_FALSE(taken);
  EXPECT_NE(taken.message().find("'a' is already loaded"), std::string_view::npos) << taken.c_str();
  EXPECT_EQ(logits(**session, "a"), first) << "a refused file must change nothing";
  EXPECT_EQ((*model)->memory().mapped_bytes, mapped);

  ASSERT_TRUE((*model)->add_tasks(second_.c_str(), true));
  EXPECT_NE(logits(**session, "a"), first);
  ASSERT_TRUE((*model)->remove_task("a"));
  EXPECT_TRUE(logits(**session, "a").empty());
  EXPECT_EQ(logits(**session, "b").size(), 3U);
  ASSERT_TRUE((*model)->remove_task("b"));
  EXPECT_FALSE((*model)->remove_task("b"));
  EXPECT_EQ((*model)->memory().mapped_bytes, std::filesystem::file_size(bundle_.path())) << "the delta files are gone with their last task";
  EXPECT_EQ(logits(**session, "stays"), stays);
}

TEST_F(HotAdd, SessionsThatRunMeanwhileSeeOneWholeSet) {
  auto loaded = Model::load(bundle_.c_str());
  ASSERT_TRUE(loaded) << loaded.status().c_str();
  Model& model = **loaded;
  SessionOptions options;
  options.threads = 1;
  options.max_batch_tokens = 256;

  // What "a" and "b" answer under the first and the second file.
  std::vector<float> expected[2][2];
  {
    auto session = Session::create(*loaded, options);
    ASSERT_TRUE(session);
    for (int version = 0; version < 2; ++version) {
      ASSERT_TRUE(model.add_tasks(version == 0 ? first_.c_str() : second_.c_str(), true));
      expected[version][0] = logits(**session, "a");
      expected[version][1] = logits(**session, "b");
    }
    ASSERT_TRUE(model.remove_task("a"));
    ASSERT_TRUE(model.remove_task("b"));
  }

  std::atomic<bool> stop{false};
  std::atomic<int> answered{0}, wrong{0};
  const auto serve = [&] {
    auto session = Session::create(*loaded, options);
    if (!session) {
      ++wrong;
      return;
    }
    Query queries[3];
    const char* names[] = {"a", "b", "stays"};
    for (int i = 0; i < 3; ++i) {
      queries[i].task = names[i];
      queries[i].ids = ids_;
      queries[i].has_ids = true;
    }
    while (!stop) {
      int versions[2] = {-1, -1};
      const Status ran = (*session)->run(queries, [&](size_t i, const Answer& answer) {
        ++answered;
        if (i == 2) {
          wrong += answer.status ? 0 : 1;
        } else if (answer.status) {
          for (int v = 0; v < 2; ++v) {
            if (std::equal(answer.logits.begin(), answer.logits.end(), expected[v][i].begin(), expected[v][i].end())) versions[i] = v;
          }
          if (versions[i] < 0) ++wrong;
        } else {
          versions[i] = 2;  // absent
        }
      });
      // "a" and "b" change in one step, so one batch sees both of one file, or neither.
      if (!ran || versions[0] != versions[1]) ++wrong;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back(serve);
  while (answered == 0 && wrong == 0) std::this_thread::yield();  // on a busy machine they may start after all rounds
  for (int round = 0; round < 50; ++round) {
    ASSERT_TRUE(model.add_tasks(round % 2 == 0 ? first_.c_str() : second_.c_str(), true));
    std::this_thread::yield();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(answered, 0);
}

TEST_F(HotAdd, ATaskBeyondTheSessionsScratchIsRefusedForThatSessionOnly) {
  auto model = Model::load(bundle_.c_str());
  ASSERT_TRUE(model);
  auto session = Session::create(*model);
  ASSERT_TRUE(session);
  const TemporaryFile wide("hot-wide.pets");
  testing_util::PetOptions options;
  options.bottleneck = 999;
  testing_util::write_random_delta(wide.path(), base_,
                                   {testing_util::random_task(base_, PetKind::kPfeiffer, HeadType::kRegression, "wide", 9, options)});
  ASSERT_TRUE((*model)->add_tasks(wide.c_str()));
  EXPECT_TRUE(logits(**session, "wide").empty());
  EXPECT_EQ(logits(**session, "stays").size(), 3U);
  auto fresh = Session::create(*model);
  ASSERT_TRUE(fresh);
  EXPECT_EQ(logits(**fresh, "wide").size(), 1U);
}

TEST_F(HotAdd, ADamagedTaskRefusesItsFileOrIsQuarantinedAlone) {
  {
    std::fstream file(second_.path(), std::ios::in | std::ios::out | std::ios::binary | std::ios::ate);
    file.seekp(-1, std::ios::end);
    file.put('\x55');  // in the padding of the last task
  }
  auto model = Model::load(bundle_.c_str());
  ASSERT_TRUE(model);
  auto session = Session::create(*model);
  ASSERT_TRUE(session);
  EXPECT_EQ((*model)->add_tasks(second_.c_str()).code(), ErrorCode::kDamaged);
  EXPECT_TRUE(logits(**session, "a").empty());
  EXPECT_TRUE((*model)->quarantined().empty());
  ASSERT_TRUE((*model)->add_tasks(second_.c_str(), false, true));
  EXPECT_EQ(logits(**session, "a").size(), 3U);
  EXPECT_TRUE(logits(**session, "b").empty());
  ASSERT_EQ((*model)->quarantined().size(), 1U);
  EXPECT_EQ((*model)->quarantined()[0].name, "b");
}

TEST_F(HotAdd, AFileOfAnotherBaseIsRefused) {
  auto model = Model::load(bundle_.c_str());
  ASSERT_TRUE(model);
  const auto other = testing_util::random_base({}, kSeed + 1);
  const TemporaryFile delta("hot-other.pets");
  testing_util::write_random_delta(delta.path(), other,
                                   {testing_util::random_task(other, PetKind::kBitFit, HeadType::kRegression, "x", 9)});
  const Status status = (*model)->add_tasks(delta.c_str());
  EXPECT_EQ(status.code(), ErrorCode::kMismatch);
  EXPECT_NE(status.message().find(other.fingerprint), std::string_view::npos) << status.c_str();
}

}  // namespace
}  // namespace pets
