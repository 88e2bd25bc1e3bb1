// Bundles of random tasks of every kind, and queries that mix them: what the CUDA backend's tests run.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/engine/cuda_answers.h"
#include "tests/testing_util/random_model.h"

#include "pets/pets.h"

namespace pets::cuda_mix {

#ifdef PETS_SLOW_BUILD  // instrumented: fewer of a kind
inline constexpr bool kSlow = true;
#else
inline constexpr bool kSlow = false;
#endif

inline constexpr testing_util::ModelShape kShape{64, 2, 2, 100, 211, 96, 2};  // an intermediate size that tiles do not take

/// Tasks of every kind, and queries of uneven lengths that mix them.
struct Mix {
  explicit Mix(uint64_t seed) : random(seed), base(testing_util::random_base(kShape, seed)) {
    uint32_t head = 1;
    for (const auto kind : testing_util::kAllPetKinds) {
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

/// The root mean square of a task's differences as a part of that of its logits, or of a tenth of all tasks' logits where those are more:
/// of the task where it is largest. A task with few logits near zero does not decide, one that is computed wrong gives about 1.
inline double largest_error(const std::vector<Query>& queries, const Logits& found, const Logits& expected) {
  struct Squares {
    double difference = 0, size = 0, count = 0;
  };
  std::map<std::string_view, Squares> squares;
  for (size_t q = 0; q < expected.size(); ++q) {
    EXPECT_EQ(found[q].size(), expected[q].size());
    Squares& sums = squares[queries[q].task];
    sums.count += static_cast<double>(expected[q].size());
    for (size_t i = 0; i < expected[q].size(); ++i) {
      sums.difference += std::pow(double{found[q][i]} - double{expected[q][i]}, 2);
      sums.size += std::pow(double{expected[q][i]}, 2);
    }
  }
  double all_size = 0, all_count = 0;
  for (const auto& [task, sums] : squares) {
    all_size += sums.size;
    all_count += sums.count;
  }
  double largest = 0;
  for (const auto& [task, sums] : squares) {
    const double size = std::max({sums.size, sums.count * 0.01 * all_size / all_count, 1e-12});
    largest = std::max(largest, std::sqrt(sums.difference / size));
  }
  return largest;
}

}  // namespace pets::cuda_mix
