// The rule of equal bits: a query's logits do not depend on which queries share its batch, their order, or the number of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>

#include "tests/kernels/gemm/emulated_dots.h"
#include "tests/testing_util/random_model.h"

#include "kernels/isa.h"
#include "pets/pets.h"
#include "runtime/engine/model_impl.h"

namespace pets {
namespace {

using converter::Precision;
using testing_util::kAllPetKinds;
using testing_util::ModelShape;
using testing_util::PetKind;

struct Case {
  kernels::Isa isa;
  ModelShape shape;
  Precision precision;
  std::string emulated{};  ///< the dot products of another CPU, as loops beside the kernels of `isa`
};

/// Forces an instruction set for the models loaded while it lives.
class ForcedIsa {
 public:
  explicit ForcedIsa(kernels::Isa isa) { ::setenv("PETS_ISA", std::string(kernels::isa_name(isa)).c_str(), 1); }
  ~ForcedIsa() { ::unsetenv("PETS_ISA"); }
};

using Bits = std::vector<uint32_t>;

Bits bits_of(std::span<const float> values) {
  Bits bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size_bytes());
  return bits;
}

class BatchInvariance : public testing::TestWithParam<Case> {};

TEST_P(BatchInvariance, LogitsAreTheSameBitsAloneAndInAnyMix) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  const ForcedIsa forced(GetParam().isa);
  const auto base = testing_util::random_base(GetParam().shape, seed);
  std::vector<converter::PetTask> tasks;
  uint32_t head = 1;
  for (const auto kind : kAllPetKinds) {
    tasks.push_back(
        testing_util::random_task(base, kind, static_cast<converter::HeadType>(head), testing_util::pet_kind_name(kind), random()));
    head = head % 6 + 1;
  }
  // More tasks of the kinds that are computed in strips of their own: of these several share a strip, and one shares it with others.
  for (const auto kind : {PetKind::kMaskBert, PetKind::kMaskBert, PetKind::kHoulsby, PetKind::kDiffPruning}) {
    const std::string name = std::string(testing_util::pet_kind_name(kind)) + " " + std::to_string(tasks.size());
    tasks.push_back(testing_util::random_task(base, kind, converter::HeadType::kSequenceClassification, name, random()));
  }
  const testing_util::TemporaryFile file("invariance.pets");
  testing_util::write_random_bundle(file.path(), base, tasks, GetParam().precision);
  auto model = Model::load(file.c_str());
  ASSERT_TRUE(model) << model.status().c_str();
  kernels::KernelTable table = *(*model)->impl().kernels;
  for (const kernels::EmulatedDot& emulated : kernels::emulated_dots()) {
    if (emulated.name != GetParam().emulated) continue;
    table.dots = emulated.dots;
    (*model)->impl().kernels = &table;
  }

  struct Stored {
    std::string task;
    std::vector<int32_t> ids;
    Bits alone;
  };
  std::vector<Stored> stored;
  for (const auto& task : tasks) {
    for (const uint32_t length : {1U, 5U, 16U, 17U, static_cast<uint32_t>(2 + random() % (base.positions - 2))}) {
      Stored query{task.name, std::vector<int32_t>(length), {}};
      for (int32_t& id : query.ids) id = static_cast<int32_t>(random() % base.vocabulary);
      stored.push_back(std::move(query));
    }
  }
  const auto query_of = [](const Stored& query) {
    Query view;
    view.task = query.task;
    view.ids = query.ids;
    view.has_ids = true;
    return view;
  };

  SessionOptions one;
  one.threads = 1;
  auto session = Session::create(*model, one);
  ASSERT_TRUE(session) << session.status().c_str();
  for (Stored& query : stored) {
    const Query view = query_of(query);
    ASSERT_TRUE((*session)->run({&view, 1}, [&](size_t, const Answer& answer) {
      ASSERT_TRUE(answer.status) << answer.status.c_str();
      for (const float logit : answer.logits) ASSERT_TRUE(std::isfinite(logit));
      query.alone = bits_of(answer.logits);
    }));
  }

#ifdef PETS_EMULATED  // both ways through a layer, alone and shared
  constexpr uint32_t kThreads[] = {1, 5};
#else
  constexpr uint32_t kThreads[] = {1, 2, 5, 16};
#endif
  for (const uint32_t threads : kThreads) {
    if (!GetParam().emulated.empty() && threads != 2) continue;  // loops are slow; two take both ways through a layer
    for (const uint32_t tokens : {base.positions, 1024U}) {
      if (threads == 5 && tokens == base.positions) continue;
      SessionOptions options;
      options.threads = threads;
      options.max_batch_tokens = tokens;
      auto mixed = Session::create(*model, options);
      ASSERT_TRUE(mixed) << mixed.status().c_str();
      std::vector<size_t> order(stored.size());
      for (size_t i = 0; i < order.size(); ++i) order[i] = i;
      std::shuffle(order.begin(), order.end(), random);
      order.resize(order.size() - random() % 7);
      std::vector<Query> queries;
      for (const size_t i : order) queries.push_back(query_of(stored[i]));
      size_t answered = 0;
      ASSERT_TRUE((*mixed)->run(queries, [&](size_t index, const Answer& answer) {
        ASSERT_EQ(index, answered++);
        ASSERT_TRUE(answer.status) << answer.status.c_str();
        const Stored& query = stored[order[index]];
        EXPECT_EQ(bits_of(answer.logits), query.alone) << query.task << ", " << query.ids.size() << " tokens, " << threads << " threads";
      }));
      EXPECT_EQ(answered, queries.size());
    }
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const kernels::Isa isa : kernels::kAllIsas) {
    if (!kernels::isa_available(isa)) continue;
#ifdef PETS_EMULATED  // what the CPU that is emulated has of its own: portable kernels are any CPU's, the levels above NEON add dot
                      // products
    if (isa == kernels::Isa::kPortable) continue;
    const bool only_dots = kernels::base_isa(isa) != isa;
#else
    const bool only_dots = false;
#endif
    all.push_back({isa, {42, 2, 3, 75, 61, 40, 1}, Precision::kBFloat16});  // inputs that fill no whole group
    all.push_back({isa, {42, 2, 3, 75, 61, 40, 1}, Precision::kInt8});
    all.push_back({isa, {34, 1, 2, 9, 61, 40, 1}, Precision::kBFloat16});  // fewer inputs than a converted strip has room for
    if (only_dots) continue;
    all.push_back({isa, {48, 2, 3, 112, 211, 96, 2}, Precision::kFloat32});
    all.push_back({isa, {64, 1, 2, 100, 97, 64, 2}, Precision::kFloat16});
    all.push_back({isa, {40, 3, 5, 72, 61, 40, 1}, Precision::kFloat32});
    all.push_back({isa, {44, 1, 2, 1100, 61, 40, 1}, Precision::kFloat32});  // more inputs than a linear takes at once
  }
#ifndef PETS_EMULATED
  for (const kernels::EmulatedDot& emulated : kernels::emulated_dots()) {
    for (const Precision precision : {Precision::kBFloat16, Precision::kInt8}) {
      if (precision == Precision::kBFloat16 && !emulated.dots.bfloat16) continue;
      all.push_back({kernels::Isa::kPortable, {42, 2, 3, 75, 61, 40, 1}, precision, emulated.name});
      all.push_back({kernels::Isa::kPortable, {34, 1, 2, 9, 61, 40, 1}, precision, emulated.name});
    }
  }
#endif
  return all;
}

INSTANTIATE_TEST_SUITE_P(EveryIsa, BatchInvariance, testing::ValuesIn(cases()), [](const auto& test) {
  const std::string& emulated = test.param.emulated;
  return (emulated.empty() ? std::string(kernels::isa_name(test.param.isa)) : emulated) + "_hidden" +
         std::to_string(test.param.shape.hidden) + "_" + std::string(converter::precision_name(test.param.precision));
});

}  // namespace
}  // namespace pets
