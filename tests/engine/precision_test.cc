// Reduced precision of the base: how far it moves answers, and that it breaks at no activation that float32 survives.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <random>

#include "tests/testing_util/random_model.h"

#include "kernels/isa.h"
#include "pets/pets.h"

namespace pets::precision_test {
namespace {

using converter::HeadType;
using converter::PetTask;
using converter::Precision;
using converter::SiteKind;
using testing_util::PetKind;
using testing_util::TemporaryFile;

constexpr Precision kReduced[] = {Precision::kFloat16, Precision::kBFloat16, Precision::kInt8};

struct AskedQuery {
  std::string task;
  std::vector<int32_t> ids;
};
using Logits = std::vector<std::vector<float>>;

/// The logits of all queries, in one batch.
Logits answers(const Model& model, Session& session, const std::vector<AskedQuery>& asked) {
  std::vector<Query> queries(asked.size());
  for (size_t i = 0; i < asked.size(); ++i) {
    queries[i].task = asked[i].task;
    queries[i].ids = asked[i].ids;
    queries[i].has_ids = true;
  }
  Logits logits(asked.size());
  const Status ran = session.run(queries, [&](size_t index, const Answer& answer) {
    EXPECT_TRUE(answer.status) << asked[index].task << ": " << answer.status.c_str();
    logits[index].assign(answer.logits.begin(), answer.logits.end());
  });
  EXPECT_TRUE(ran) << ran.c_str() << " on " << model.isa();
  return logits;
}

Logits packed_answers(const converter::BaseModel& base, const std::vector<PetTask>& tasks, Precision precision,
                      const std::vector<AskedQuery>& asked) {
  const TemporaryFile file("precision.pets");
  testing_util::write_random_bundle(file.path(), base, tasks, precision);
  const auto model = Model::load(file.c_str());
  EXPECT_TRUE(model) << model.status().c_str();
  auto session = Session::create(*model, {.threads = 2});
  EXPECT_TRUE(session) << session.status().c_str();
  return answers(**model, **session, asked);
}

/// Largest change of a task's logits, as a part of its largest.
std::map<std::string, float> drifts(const std::vector<AskedQuery>& asked, const Logits& exact, const Logits& reduced) {
  std::map<std::string, float> largest, change;
  for (size_t i = 0; i < asked.size(); ++i) {
    for (size_t j = 0; j < exact[i].size(); ++j) {
      float& top = largest[asked[i].task];
      float& moved = change[asked[i].task];
      top = std::max(top, std::fabs(exact[i][j]));
      moved = std::max(moved, std::fabs(exact[i][j] - reduced[i][j]));
    }
  }
  for (auto& [task, moved] : change) moved /= largest[task];
  return change;
}

/// What one linear's output is off by, as a part of its size: the roundings of its weights, and of its inputs where the precision rounds
/// those, too. A rounding error is uniform over a step; its deviation is step / sqrt(12).
float linear_noise(Precision precision) {
  constexpr float kUniform = 0.2887F, kBoth = 1.4142F;
  switch (precision) {
    case Precision::kFloat32:
      return 0;
    case Precision::kFloat16:  // a step is at most 2^-10 of the value
      return 0x1p-10F * kUniform;
    case Precision::kBFloat16:
      return 0x1p-7F * kUniform * kBoth;
    case Precision::kInt8:  // a step is 1/127 of the largest of a row, about 3 deviations; of weights, of the largest sum of a pair, about
                            // 4
      return 5.0F / 127 * kUniform;
  }
  return 0;
}

TEST(PrecisionDrift, IsWhatTheRoundingsOfTheLayersAddUpTo) {
  // Twelve linears one after another add up to sqrt(12) of one linear's noise, the largest of some dozen logits is off by two to three
  // deviations; residual connections halve that, and some tasks' largest logit is small. Over 50 seeds: 0.27 to 7.3, in the mean 1.0
  // to 1.7.
  constexpr float kLeast = 0.05F, kMost = 10;
#ifdef PETS_EMULATED
  constexpr uint64_t kSeeds = 1;
#else
  constexpr uint64_t kSeeds = 4;
#endif
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const auto base = testing_util::random_base({}, seed);
    std::vector<PetTask> tasks;
    std::vector<AskedQuery> asked;
    for (const auto kind : testing_util::kAllPetKinds) {
      const std::string name = testing_util::pet_kind_name(kind);
      tasks.push_back(testing_util::random_task(base, kind, HeadType::kSequenceClassification, name, random()));
      for (const uint32_t length : {3U, 17U, 40U, 64U}) {
        AskedQuery& query = asked.emplace_back(AskedQuery{name, std::vector<int32_t>(length)});
        for (int32_t& id : query.ids) id = static_cast<int32_t>(random() % base.vocabulary);
      }
    }
    const Logits exact = packed_answers(base, tasks, Precision::kFloat32, asked);
    for (const Precision precision : kReduced) {
      for (const auto& [task, drift] : drifts(asked, exact, packed_answers(base, tasks, precision, asked))) {
        EXPECT_GT(drift, kLeast * linear_noise(precision)) << converter::precision_name(precision) << " " << task;
        EXPECT_LT(drift, kMost * linear_noise(precision)) << converter::precision_name(precision) << " " << task;
      }
    }
  }
}

/// Sets PETS_ISA while it lives.
class IsaOfThisTest {
 public:
  explicit IsaOfThisTest(kernels::Isa isa) { ::setenv("PETS_ISA", std::string(kernels::isa_name(isa)).c_str(), 1); }
  ~IsaOfThisTest() { ::unsetenv("PETS_ISA"); }
};

/// Writes a bundle whose tasks carry the answers to `asked`, changed by `change`, as goldens.
void write_with_goldens(const std::string& path, const converter::BaseModel& base, const std::vector<PetTask>& tasks, Precision precision,
                        const std::vector<AskedQuery>& asked, float change = 1) {
  const Logits logits = packed_answers(base, tasks, precision, asked);
  const auto segment = converter::make_base_segment(base, precision);
  ASSERT_TRUE(segment) << segment.status().c_str();
  std::vector<converter::SegmentImage> images;
  for (const PetTask& task : tasks) {
    std::vector<converter::Golden> goldens;
    for (size_t i = 0; i < asked.size(); ++i) {
      if (asked[i].task != task.name) continue;
      converter::Golden& golden = goldens.emplace_back();
      golden.ids = asked[i].ids;
      for (const float logit : logits[i]) golden.logits.push_back(logit * change);
    }
    images.push_back(std::move(converter::make_task_segment(base, task, goldens, precision).value()));
  }
  const Status written = converter::write_bundle(path, &*segment, images, base.fingerprint);
  ASSERT_TRUE(written) << written.c_str();
}

std::vector<Model::SelfCheck> self_check(const std::string& path) {
  const auto model = Model::load(path.c_str());
  EXPECT_TRUE(model) << model.status().c_str();
  auto session = Session::create(*model, {.threads = 1});
  EXPECT_TRUE(session) << session.status().c_str();
  auto checks = (*model)->self_check(**session);
  EXPECT_TRUE(checks) << checks.status().c_str();
  return std::move(checks).value();
}

TEST(PrecisionGoldens, HoldOnEveryInstructionSetAndNoticeAWrongOne) {
  const auto base = testing_util::random_base({}, 12);
  std::vector<PetTask> tasks;
  std::vector<AskedQuery> asked;
  for (const auto kind : testing_util::kAllPetKinds) {
    const std::string name = testing_util::pet_kind_name(kind);
    tasks.push_back(testing_util::random_task(base, kind, HeadType::kSequenceClassification, name, 6));
#ifdef PETS_EMULATED
    constexpr int32_t kLongest = 18;
#else
    constexpr int32_t kLongest = 64;
#endif
    for (const int32_t length : {3, 17, kLongest}) {
      AskedQuery& query = asked.emplace_back(AskedQuery{name, std::vector<int32_t>(static_cast<size_t>(length))});
      for (int32_t i = 0; i < length; ++i) query.ids[static_cast<size_t>(i)] = (i * i + length) % static_cast<int32_t>(base.vocabulary);
    }
  }
  for (const Precision precision : testing_util::kAllPrecisions) {
    SCOPED_TRACE(converter::precision_name(precision));
    for (const kernels::Isa answered : kernels::kAllIsas) {
      if (!kernels::isa_available(answered)) continue;
#ifdef PETS_EMULATED  // of the pairs, those of what this CPU takes by itself; of the precisions, those that have dot products
      if (answered != kernels::best_isa() || (precision != Precision::kBFloat16 && precision != Precision::kInt8)) continue;
#endif
      const TemporaryFile right("goldens.pets"), wrong("wrong.pets");
      {
        const IsaOfThisTest isa(answered);
        write_with_goldens(right.path(), base, tasks, precision, asked);
        write_with_goldens(wrong.path(), base, tasks, precision, asked, 2);
      }
      for (const kernels::Isa checked : kernels::kAllIsas) {
        if (!kernels::isa_available(checked)) continue;
        const IsaOfThisTest isa(checked);
        for (const Model::SelfCheck& check : self_check(right.path())) {
          EXPECT_TRUE(check.status) << kernels::isa_name(answered) << " on " << kernels::isa_name(checked) << ": " << check.status.c_str();
          EXPECT_FALSE(check.other_precision);
          EXPECT_EQ(check.queries, 3U);
          if (answered == checked) {
            EXPECT_EQ(check.largest_error, 0);
          }
        }
        for (const Model::SelfCheck& check : self_check(wrong.path())) EXPECT_FALSE(check.status) << check.task;
      }
    }
  }
}

/// Tasks that send activations of one size through the linears of every layer: the inputs of ffn.down and of attention.value scaled.
PetTask scaled_task(const converter::BaseModel& base, float scale, const std::string& name) {
  PetTask task = testing_util::random_task(base, PetKind::kNone, HeadType::kSequenceClassification, name, 3);
  for (uint32_t layer = 0; layer < base.layers; ++layer) {
    for (const SiteKind kind : {SiteKind::kAttentionValue, SiteKind::kFfnDown}) {
      const converter::Site site{kind, layer};
      task.operators.push_back({site, converter::ScaleOperator{std::vector<float>(base.linear(site)->weight.columns, scale), {}}});
    }
  }
  return task;
}

/// A task whose word embeddings are of one size, and whose norm leaves them so.
PetTask embedded_task(const converter::BaseModel& base, float size, const std::string& name) {
  PetTask task = testing_util::random_task(base, PetKind::kNone, HeadType::kSequenceClassification, name, 3);
  converter::ReplacedRowsOperator rows;
  for (uint32_t row = 0; row < base.vocabulary; ++row) rows.rows.push_back(row);
  rows.values = base.word_embeddings;
  for (float& value : rows.values.values) value *= size;
  task.operators.push_back({{SiteKind::kEmbeddingsWord, 0}, rows});
  return task;
}

TEST(PrecisionExtremes, WhatIsFiniteInFloat32IsFiniteInEveryPrecision) {
  const auto base = testing_util::random_base({42, 2, 3, 75, 61, 40, 1}, 4);
  std::vector<PetTask> tasks;
  for (const float size : {1e30F, 1e18F, 1.0F, 1e-30F, 1e-38F, 1e-42F, 0.0F}) {
    tasks.push_back(scaled_task(base, size, "scaled-" + std::to_string(tasks.size())));
    tasks.push_back(embedded_task(base, size, "embedded-" + std::to_string(tasks.size())));
  }
  std::vector<AskedQuery> asked;
  for (const PetTask& task : tasks) {
    for (const uint32_t length : {1U, 5U, 19U}) {
      AskedQuery& query = asked.emplace_back(AskedQuery{task.name, std::vector<int32_t>(length)});
      for (uint32_t i = 0; i < length; ++i) query.ids[i] = static_cast<int32_t>((7 * i + length) % base.vocabulary);
    }
  }
  for (const kernels::Isa isa : kernels::kAllIsas) {
    if (!kernels::isa_available(isa)) continue;
    const IsaOfThisTest forced(isa);
    SCOPED_TRACE(kernels::isa_name(isa));
    const auto is_finite = [](const std::vector<float>& values) {
      return !values.empty() && std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
    };
    const Logits exact = packed_answers(base, tasks, Precision::kFloat32, asked);
    for (const std::vector<float>& logits : exact) EXPECT_TRUE(is_finite(logits));
    for (const Precision precision : kReduced) {
      const Logits reduced = packed_answers(base, tasks, precision, asked);
      for (size_t i = 0; i < asked.size(); ++i) {
        EXPECT_TRUE(is_finite(reduced[i])) << converter::precision_name(precision) << ", task " << asked[i].task << ", "
                                           << asked[i].ids.size() << " tokens";
      }
    }
  }
}

TEST(PrecisionExtremes, ATaskThatOverflowsLeavesItsNeighboursAlone) {
  const auto base = testing_util::random_base({42, 2, 3, 75, 61, 40, 1}, 4);
  const std::vector<PetTask> tasks = {scaled_task(base, std::numeric_limits<float>::max(), "overflows"),
                                      testing_util::random_task(base, PetKind::kMaskBert, HeadType::kRegression, "masked", 5),
                                      testing_util::random_task(base, PetKind::kLoraAll, HeadType::kRegression, "lora", 6)};
  std::vector<AskedQuery> good, mixed;
  for (int32_t i = 0; i < 12; ++i) {
    const AskedQuery query = {i % 2 == 0 ? "masked" : "lora", {i, i + 7, i + 20}};
    good.push_back(query);
    mixed.push_back({"overflows", {i, i + 1}});
    mixed.push_back(query);
  }
  for (const Precision precision : testing_util::kAllPrecisions) {
    SCOPED_TRACE(converter::precision_name(precision));
    const Logits alone = packed_answers(base, tasks, precision, good), beside = packed_answers(base, tasks, precision, mixed);
    bool overflowed = false;
    for (size_t i = 0; i < good.size(); ++i) {
      for (const float logit : beside[2 * i]) overflowed |= !std::isfinite(logit);
      EXPECT_EQ(alone[i], beside[2 * i + 1]);
      EXPECT_TRUE(std::isfinite(alone[i][0]));
    }
    EXPECT_TRUE(overflowed);
  }
}

}  // namespace
}  // namespace pets::precision_test
