// A base that was packed for a GPU answers alike wherever the GPU reads it, and as one that was packed for the CPU does.
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "tests/engine/cuda_mix.h"
#include "tests/testing_util/random_model.h"

#include "pets/pets.h"
#if defined(PETS_EMULATED_CUDA)
#include "runtime/cuda/emulation/emulated_host.h"
#endif

namespace pets {
namespace {

using converter::Precision;
using converter::Target;
using cuda_mix::Mix;

Logits answers(const std::string& path, const std::vector<Query>& queries, const ModelOptions& options) {
  auto model = Model::load(path.c_str(), options);
  EXPECT_TRUE(model) << model.status().c_str();
  if (!model) return {};
  auto session = Session::create(*model);
  EXPECT_TRUE(session) << session.status().c_str();
  return session ? run_all(**session, queries) : Logits();
}

struct Case {
  Precision precision;
  uint32_t intermediate;  ///< 112 is read in place, 100 is padded
};
void PrintTo(const Case& value, std::ostream* to) { *to << converter::precision_name(value.precision) << " " << value.intermediate; }

class CudaWeightMemory : public testing::TestWithParam<Case> {
 protected:
#if defined(PETS_EMULATED_CUDA)
  CudaWeightMemory() { cuda::emulated_host().access = {true, true, true, true}; }  // has every step
  ~CudaWeightMemory() override { cuda::emulated_host() = {}; }
#endif
};

/// The same tasks on a base with another intermediate size.
void resize(Mix& mix, uint32_t intermediate) {
  testing_util::ModelShape shape = cuda_mix::kShape;
  shape.intermediate = intermediate;
  mix.base = testing_util::random_base(shape, mix.random());
  for (size_t i = 0; i < mix.tasks.size(); ++i) {
    mix.tasks[i] = testing_util::random_task(mix.base, testing_util::kAllPetKinds[i], mix.tasks[i].head.type, mix.tasks[i].name, i);
  }
}

TEST_P(CudaWeightMemory, EveryStepThatTheDeviceHasAnswersAsTheCopyDoes) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Mix mix(seed);
  resize(mix, GetParam().intermediate);
  const testing_util::TemporaryFile for_cuda("packed_for_cuda.pets"), for_cpu("packed_for_cpu.pets");
  testing_util::write_random_bundle(for_cuda.path(), mix.base, mix.tasks, GetParam().precision, Target::kCuda);
  testing_util::write_random_bundle(for_cpu.path(), mix.base, mix.tasks, GetParam().precision);
  const auto queries = mix.queries(3 * mix.tasks.size(), 10);
  ModelOptions options;
  options.backend = Backend::kCuda;
  const Logits expected = answers(for_cpu.path(), queries, options);
  for (const bool copied_file : {false, true}) {
    options.copy = copied_file;  // read in place, too: it is memory of the host as the mapping is
    for (const WeightMemory memory : {WeightMemory::kAuto, WeightMemory::kCopy, WeightMemory::kHostPageTables, WeightMemory::kRegistered}) {
      SCOPED_TRACE(weight_memory_name(memory));
      if (copied_file && memory != WeightMemory::kRegistered) continue;
      options.weight_memory = memory;
      const auto model = Model::load(for_cuda.c_str(), options);
#if defined(PETS_EMULATED_CUDA)
      ASSERT_TRUE(model) << model.status().c_str();
#endif
      if (!model) {  // a device that has not got it says so
        EXPECT_NE(model.status().message().find("weight memory '" + std::string(weight_memory_name(memory)) + "'"), std::string_view::npos)
            << model.status().c_str();
        EXPECT_TRUE(memory == WeightMemory::kHostPageTables || memory == WeightMemory::kRegistered);
        continue;
      }
      const WeightMemory taken = (*model)->weight_memory();
      if (memory == WeightMemory::kAuto) {
        EXPECT_NE(taken, WeightMemory::kAuto);
        std::printf("auto: %s (%s)\n", std::string(weight_memory_name(taken)).c_str(),
                    std::string((*model)->weight_memory_reason()).c_str());
      } else {
        EXPECT_EQ(taken, memory);
        EXPECT_EQ((*model)->weight_memory_reason(), "");
      }
      EXPECT_EQ(answers(for_cuda.path(), queries, options), expected);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryPrecisionOfAGpu, CudaWeightMemory,
                         testing::Values(Case{Precision::kFloat32, 112}, Case{Precision::kFloat16, 112}, Case{Precision::kBFloat16, 112},
                                         Case{Precision::kInt8, 112}, Case{Precision::kFloat16, 100}, Case{Precision::kInt8, 100}),
                         [](const auto& test) {
                           return std::string(converter::precision_name(test.param.precision)) + "_" +
                                  std::to_string(test.param.intermediate);
                         });

TEST(CudaWeightMemoryOfTheCpusLayout, IsACopyAndNothingElse) {
  Mix mix(5);
  for (const Precision precision : testing_util::kAllPrecisions) {
    const testing_util::TemporaryFile file("cpu_layout.pets");
    testing_util::write_random_bundle(file.path(), mix.base, {}, precision);
    ModelOptions options;
    options.backend = Backend::kCuda;
    const auto model = Model::load(file.c_str(), options);
    ASSERT_TRUE(model) << model.status().c_str();
    EXPECT_EQ((*model)->weight_memory(), WeightMemory::kCopy);
    EXPECT_EQ((*model)->weight_memory_reason(),
              "host-page-tables, registered: the bundle was packed for the cpu; `pets-convert pack --target cuda` packs for this");
    for (const WeightMemory memory : {WeightMemory::kHostPageTables, WeightMemory::kRegistered}) {
      options.weight_memory = memory;
      const auto refused = Model::load(file.c_str(), options);
      ASSERT_FALSE(refused);
      EXPECT_NE(refused.status().message().find("the bundle was packed for the cpu"), std::string_view::npos) << refused.status().c_str();
    }
  }
}

}  // namespace
}  // namespace pets
