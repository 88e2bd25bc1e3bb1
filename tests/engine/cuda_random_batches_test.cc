// Random batches: the CUDA backend against the CPU, on mixes of every PET type with every head.
//
// PETS_RANDOM_BATCHES: how many (a few by default, as an emulated device is slow; benchmarks/cuda/run.sh takes 10,000). PETS_RANDOM_SEED:
// of the first batch, the next has the next number. A batch follows from its seed alone, so that one that failed can be run alone (on a
// device that no other batch has left its tasks on).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "tests/engine/cuda_answers.h"
#include "tests/testing_util/random_model.h"

#include "pets/pets.h"

namespace pets {
namespace {

using converter::Precision;

constexpr uint32_t kLongest = 128;  // tokens
constexpr testing_util::ModelShape kSmallShape{64, 2, 2, 100, 211, kLongest, 2};
constexpr uint32_t kHeadTypes = 6, kBatchTokens = 512, kBatchQueries = 64;
constexpr Precision kPrecisions[] = {Precision::kFloat32, Precision::kFloat16, Precision::kBFloat16, Precision::kInt8};

#ifdef PETS_SLOW_BUILD  // instrumented or emulated: one of each sort
constexpr uint64_t kDefaultBatches = 5;
#else
constexpr uint64_t kDefaultBatches = 20;  // each sort in each precision
#endif

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// A task of every PET type with every head. The same in every run: a batch's seed is all that decides.
std::vector<converter::PetTask> every_task(const converter::BaseModel& base) {
  std::vector<converter::PetTask> tasks;
  for (const auto kind : testing_util::kAllPetKinds) {
    for (uint32_t head = 1; head <= kHeadTypes; ++head) {
      const std::string name = std::string(testing_util::pet_kind_name(kind)) + "-" + std::to_string(head);
      tasks.push_back(testing_util::random_task(base, kind, static_cast<converter::HeadType>(head), name, tasks.size()));
    }
  }
  return tasks;
}

/// A base and all tasks in one precision, on both backends.
struct Engines {
  Engines(const converter::BaseModel& base, const std::vector<converter::PetTask>& tasks, Precision of)
      : precision(of), file(std::string("random_batches-") + std::string(converter::precision_name(of)) + ".pets") {
    testing_util::write_random_bundle(file.path(), base, tasks, precision);
    SessionOptions options;
    options.max_batch_tokens = kBatchTokens;
    options.max_batch_queries = kBatchQueries;
    options.threads = 1;  // a small model, and these tests run beside each other
    cpu = session_of(file.path(), Backend::kCpu, options);
    options.device_task_bytes = 1 << 20;  // about half of them: tasks leave and come back
    cuda = session_of(file.path(), Backend::kCuda, options);
  }

  Precision precision;
  testing_util::TemporaryFile file;
  std::unique_ptr<Session> cpu, cuda;
  std::vector<double> scale;  // of the tasks: the root mean square of their logits
  struct Sums {
    double squares = 0;  // of differences, as parts of the scale
    size_t values = 0;
  };
  std::vector<Sums> sums;  // of the tasks, over all batches
};

/// Queries and the token ids that they view.
struct RandomBatch {
  explicit RandomBatch(uint64_t seed) : random(seed) {}

  uint32_t between(uint32_t least, uint32_t most) { return least + static_cast<uint32_t>(random() % (most - least + 1)); }
  /// A text that the queries added from here on have.
  void new_text(uint32_t length) {
    texts.emplace_back(length);
    for (int32_t& id : texts.back()) id = static_cast<int32_t>(random() % kSmallShape.vocabulary);
  }
  void add(uint32_t task) {
    task_of.push_back(task);
    text_of.push_back(texts.size() - 1);
    tokens += static_cast<uint32_t>(texts.back().size());
  }
  std::vector<Query> queries(const std::vector<converter::PetTask>& tasks) const {
    std::vector<Query> made(task_of.size());
    for (size_t i = 0; i < made.size(); ++i) {
      made[i].task = tasks[task_of[i]].name;
      made[i].ids = texts[text_of[i]];
      made[i].has_ids = true;
    }
    return made;
  }

  std::mt19937_64 random;
  std::vector<std::vector<int32_t>> texts;
  std::vector<uint32_t> task_of;
  std::vector<size_t> text_of;
  uint32_t tokens = 0;
};

/// Neighbouring seeds give batches of every sort.
RandomBatch random_batch(uint64_t seed, uint32_t all_tasks) {
  RandomBatch batch(seed);
  const auto any_task = [&] { return batch.between(0, all_tasks - 1); };
  switch (seed % 5) {
    case 0:  // one query
      batch.new_text(batch.between(1, kLongest));
      batch.add(any_task());
      break;
    case 1: {  // long queries of few tasks
      const uint32_t first = any_task(), tasks = batch.between(1, 4);
      for (uint32_t left = batch.between(1, 8); left > 0 && batch.tokens + kLongest <= kBatchTokens; --left) {
        batch.new_text(batch.between(1, kLongest));
        batch.add((first + batch.between(0, tasks - 1)) % all_tasks);
      }
      break;
    }
    case 2: {  // short queries of many tasks
      const uint32_t first = any_task(), tasks = batch.between(5, kBatchQueries);
      for (uint32_t i = 0; i < tasks; ++i) {
        batch.new_text(batch.between(1, 8));
        batch.add((first + i) % all_tasks);
      }
      break;
    }
    case 3:  // many tasks on one text
      for (uint32_t texts = batch.between(1, 4); texts > 0; --texts) {
        batch.new_text(batch.between(1, kBatchTokens / kBatchQueries));
        for (uint32_t left = batch.between(2, kBatchQueries / 4); left > 0; --left) batch.add(any_task());
      }
      break;
    default:  // all that a batch takes, to the token; sometimes more, so that it takes several
      do {
        while (batch.tokens % kBatchTokens < kBatchTokens - kLongest) {
          batch.new_text(batch.between(kLongest / 8, kLongest));
          batch.add(any_task());
        }
        batch.new_text(kBatchTokens - batch.tokens % kBatchTokens);
        batch.add(any_task());
      } while (batch.between(0, 3) == 0);
  }
  return batch;
}

/// Of each task's logits on the CPU, over some queries.
std::vector<double> logit_scales(Session& cpu, const std::vector<converter::PetTask>& tasks) {
  constexpr uint32_t kQueries = 8, kLength = 12;
  RandomBatch batch(1);
  for (uint32_t i = 0; i < kQueries * tasks.size(); ++i) {
    batch.new_text(batch.between(1, kLength));
    batch.add(i % static_cast<uint32_t>(tasks.size()));
  }
  const Logits logits = run_all(cpu, batch.queries(tasks));
  std::vector<double> squares(tasks.size());
  std::vector<size_t> values(tasks.size());
  for (size_t q = 0; q < logits.size(); ++q) {
    for (const float logit : logits[q]) squares[batch.task_of[q]] += double{logit} * double{logit};
    values[batch.task_of[q]] += logits[q].size();
  }
  for (size_t task = 0; task < tasks.size(); ++task) squares[task] = std::sqrt(squares[task] / static_cast<double>(values[task]));
  return squares;
}

TEST(CudaRandomBatches, AreAnsweredAsTheCpuDoes) {
  const uint64_t batches = from_environment("PETS_RANDOM_BATCHES", kDefaultBatches);
  const uint64_t first = from_environment("PETS_RANDOM_SEED", std::random_device()());
  const converter::BaseModel base = testing_util::random_base(kSmallShape, 1);
  const std::vector<converter::PetTask> tasks = every_task(base);
  std::vector<std::unique_ptr<Engines>> all;
  for (const Precision precision : kPrecisions) {
    const auto& engines = all.emplace_back(std::make_unique<Engines>(base, tasks, precision));
    ASSERT_TRUE(engines->cpu != nullptr && engines->cuda != nullptr);
    engines->scale = logit_scales(*engines->cpu, tasks);
    engines->sums.resize(tasks.size());
  }

  // A query's error is its head's times the noise (cuda_answers.h); of n that are normally distributed the largest is expected below
  // sqrt(2 ln n) deviations. A query that is computed wrong has an error of about 1.
  constexpr uint64_t kQueriesPerBatch = 16;  // about
  const double tail = 1 + std::sqrt(2 * std::log(static_cast<double>(batches * kQueriesPerBatch)));
  size_t queries_checked = 0;
  double largest[std::size(kPrecisions)] = {};
  for (uint64_t seed = first; seed < first + batches; ++seed) {
    const size_t which = seed / 5 % std::size(kPrecisions);
    Engines& engines = *all[which];
    SCOPED_TRACE("PETS_RANDOM_BATCHES=1 PETS_RANDOM_SEED=" + std::to_string(seed) + " repeats it, " +
                 std::string(converter::precision_name(engines.precision)));
    const RandomBatch batch = random_batch(seed, static_cast<uint32_t>(tasks.size()));
    const auto queries = batch.queries(tasks);
    const Logits expected = run_all(*engines.cpu, queries), found = run_all(*engines.cuda, queries);
    const double allowed = tail * kHeadErrors * cuda_noise(engines.precision);
    for (size_t q = 0; q < queries.size(); ++q) {
      ASSERT_EQ(found[q].size(), expected[q].size());
      const uint32_t task = batch.task_of[q];
      double squares = 0;
      for (size_t i = 0; i < expected[q].size(); ++i) {
        squares += std::pow((double{found[q][i]} - double{expected[q][i]}) / engines.scale[task], 2);
      }
      engines.sums[task].squares += squares;
      engines.sums[task].values += expected[q].size();
      const double error = std::sqrt(squares / static_cast<double>(std::max<size_t>(expected[q].size(), 1)));
      largest[which] = std::max(largest[which], error);
      ASSERT_TRUE(error <= allowed) << "task " << tasks[task].name << ", query " << q << " of " << queries.size() << ", "
                                    << batch.texts[batch.text_of[q]].size() << " tokens: error " << error << ", allowed " << allowed;
    }
    queries_checked += queries.size();
  }

  // Over all batches together there is no tail. What few values a task has had by chance may be off: those count that had some dozens.
  constexpr size_t kEnough = 48;
  for (size_t which = 0; which < all.size(); ++which) {
    double worst = 0;
    for (size_t task = 0; task < tasks.size(); ++task) {
      const Engines::Sums& sums = all[which]->sums[task];
      if (sums.values < kEnough) continue;
      const double error = std::sqrt(sums.squares / static_cast<double>(sums.values));
      worst = std::max(worst, error);
      EXPECT_LE(error, kHeadErrors * cuda_noise(kPrecisions[which])) << tasks[task].name << ", seeds from " << first;
    }
    std::printf("%s: largest error of a query %.2e, of a task %.2e\n", std::string(converter::precision_name(kPrecisions[which])).c_str(),
                largest[which], worst);
  }
  std::printf("%llu batches, %zu queries, seeds from %llu\n", static_cast<unsigned long long>(batches), queries_checked,
              static_cast<unsigned long long>(first));
}

}  // namespace
}  // namespace pets
