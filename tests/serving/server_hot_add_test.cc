// Tasks are added, replaced and removed while a server answers: each query by the version of its task that was there when it was submitted.
#include <filesystem>

#include "tests/serving/server_fixture.h"

namespace pets {
namespace {

using converter::HeadType;
using testing_util::PetKind;
using testing_util::same_bits;
using testing_util::TemporaryFile;
using testing_util::Watchdog;

enum : uint32_t { kAbsent = 1, kFirst = 2, kSecond = 4, kWrong = 8, kAny = kAbsent | kFirst | kSecond };

/// A task that changes. `possible` is what may be found while `changes` stays.
struct Changing {
  std::string name;
  std::unique_ptr<TemporaryFile> files[2];
  std::atomic<uint64_t> changes{0};
  std::atomic<uint32_t> possible{kAbsent};
};

class ServerHotAdd : public testing_util::ServerFixture {
 protected:
  static constexpr size_t kTasks = 6, kQueries = 8;

  ServerHotAdd() {
    options_.session.threads = 1;
    options_.max_queued = 128;
    make_queries(kQueries);
    const PetKind kinds[] = {PetKind::kHoulsby, PetKind::kDiffPruning, PetKind::kLoraAll, PetKind::kMaskBert, PetKind::kBitFit};
    for (size_t t = 0; t < kTasks; ++t) {
      changing_[t].name = "changing-" + std::to_string(t);
      for (size_t version = 0; version < 2; ++version) {
        auto& file = changing_[t].files[version];
        file = std::make_unique<TemporaryFile>(changing_[t].name + "-" + std::to_string(version) + ".pets");
        testing_util::write_random_delta(
            file->path(), base_,
            {testing_util::random_task(base_, kinds[random_() % 5], HeadType::kSequenceClassification, changing_[t].name, random_())});
        EXPECT_TRUE(model_->add_tasks(file->c_str(), true));
        std::vector<Query> queries = queries_;
        for (Query& query : queries) query.task = changing_[t].name;
        versions_[t][version] = direct(queries);
      }
      EXPECT_TRUE(model_->remove_task(changing_[t].name));
    }
  }

  uint32_t version_of(size_t task, size_t query, std::span<const float> logits) const {
    for (uint32_t version = 0; version < 2; ++version) {
      if (same_bits(logits, versions_[task][version][query])) return kFirst << version;
    }
    return kWrong;
  }

  Changing changing_[kTasks];
  std::vector<std::vector<uint32_t>> versions_[kTasks][2];
};

TEST_F(ServerHotAdd, AThousandChangesUnderLoad) {
  const Watchdog watchdog("hot add");
  const auto mapped = model_->memory().mapped_bytes;
  const auto server = serve();
  constexpr uint32_t kProducers = 3, kChangers = 2;
  const uint32_t most_changes = 100 * testing_util::kServerEffort;
  std::atomic<uint32_t> changes{0}, changing{kChangers};
  std::atomic<uint64_t> checked{0}, strictly{0}, absent{0}, wrong{0}, lost{0};

  struct Asked {
    size_t task = 0, query = 0;
    uint32_t allowed = 0;
    bool strict = false;
    std::atomic<uint32_t> found{0}, answers{0};
  };
  std::vector<std::thread> threads;
  std::vector<uint64_t> seeds(kProducers + kChangers);
  for (uint64_t& seed : seeds) seed = random_();
  for (uint32_t p = 0; p < kProducers; ++p) {
    threads.emplace_back([&, this, p] {
      std::mt19937_64 random(seeds[p]);
      while (changing != 0) {
        constexpr size_t kWindow = 64;
        std::vector<Asked> window(kWindow);
        size_t expected = 0;
        std::atomic<size_t> told{0};
        for (Asked& asked : window) {
          asked.task = random() % kTasks;
          asked.query = random() % kQueries;
          Changing& task = changing_[asked.task];
          Query query = queries_[asked.query];
          query.task = task.name;
          const uint64_t before = task.changes;
          asked.allowed = task.possible;
          const auto id = server->submit(query, {}, [&, this](QueryId, uint32_t, const Answer& answer) {
            asked.found = answer.status ? version_of(asked.task, asked.query, answer.logits) : uint32_t{kWrong};
            ++asked.answers;
            ++told;
          });
          asked.allowed |= task.possible;
          asked.strict = task.changes - before <= 1;
          if (!asked.strict) asked.allowed = kAny;
          if (id) {
            ++expected;
            continue;
          }
          asked.answers = 1;
          asked.found = id.status().code() == ErrorCode::kNotFound ? kAbsent : kWrong;
        }
        while (told < expected) std::this_thread::yield();
        for (const Asked& asked : window) {
          ++checked;
          strictly += asked.strict ? 1 : 0;
          absent += asked.found == kAbsent ? 1 : 0;
          if ((asked.found & asked.allowed) == 0) ++wrong;
          if (asked.answers != 1) ++lost;
        }
      }
    });
  }
  for (uint32_t c = 0; c < kChangers; ++c) {
    threads.emplace_back([&, this, c] {
      std::mt19937_64 random(seeds[kProducers + c]);
      while (changes++ < most_changes) {
        while (checked < 10 * changes) std::this_thread::yield();
        Changing& task = changing_[c + kChangers * (random() % (kTasks / kChangers))];  // its own, so that it knows what is there
        const uint32_t now = task.possible;
        const uint32_t version = random() % 2;
        const bool remove = now != kAbsent && random() % 3 == 0;
        const uint32_t then = remove ? uint32_t{kAbsent} : kFirst << version;
        task.possible = now | then;
        ++task.changes;
        const Status status =
            remove ? model_->remove_task(task.name) : model_->add_tasks(task.files[version]->c_str(), now != kAbsent || random() % 2 == 0);
        if (!status) ++wrong;
        task.possible = then;
        ++task.changes;
      }
      --changing;
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(server->drain());
  std::printf("%llu queries, %llu of them checked against one or two versions, %llu of a task that was not there\n",
              static_cast<unsigned long long>(checked), static_cast<unsigned long long>(strictly), static_cast<unsigned long long>(absent));
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(lost, 0U);
  EXPECT_GT(checked, 0U);
  for (const Changing& task : changing_) {
    EXPECT_TRUE(task.possible == kAbsent || model_->remove_task(task.name));
  }
  EXPECT_EQ(model_->memory().mapped_bytes, mapped) << "a drained server keeps no task";
}

TEST_F(ServerHotAdd, AQueryAcceptedBeforeItsTaskWentIsAnswered) {
  const Watchdog watchdog("removed while waiting");
  ASSERT_TRUE(model_->add_tasks(changing_[0].files[0]->c_str()));
  const auto server = serve();
  std::mutex gate;
  std::unique_lock<std::mutex> shut(gate);
  Query query = queries_[0];
  query.task = changing_[0].name;
  ASSERT_TRUE(server->submit(query, {}, [&](QueryId, uint32_t, const Answer&) { const std::lock_guard<std::mutex> wait(gate); }));
  std::vector<std::future<OwnedAnswer>> first, second;
  for (int i = 0; i < 20; ++i) first.push_back(server->submit(query));
  ASSERT_TRUE(model_->add_tasks(changing_[0].files[1]->c_str(), true));
  for (int i = 0; i < 20; ++i) second.push_back(server->submit(query));
  ASSERT_TRUE(model_->remove_task(query.task));
  const OwnedAnswer gone = server->submit(query).get();
  EXPECT_EQ(gone.status.code(), ErrorCode::kNotFound);
  shut.unlock();
  for (auto& answer : first) EXPECT_EQ(version_of(0, 0, answer.get().logits), uint32_t{kFirst});
  for (auto& answer : second) EXPECT_EQ(version_of(0, 0, answer.get().logits), uint32_t{kSecond});
  ASSERT_TRUE(server->drain());
}

}  // namespace
}  // namespace pets
