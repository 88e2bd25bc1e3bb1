// Device memory is foretold to the byte.
#include <gtest/gtest.h>

#include "tests/engine/cuda_mix.h"

#include "pets/pets.h"

namespace pets {
namespace {

using cuda_mix::Mix;
using testing_util::TemporaryFile;

TEST(CudaPlan, ForetellsWhatIsUsedInEveryPrecision) {
  Mix mix(11);
  const TemporaryFile delta("cuda_plan_delta.pets");
  testing_util::write_random_delta(delta.path(), mix.base, {mix.tasks.back()});
  mix.tasks.pop_back();
  for (const converter::Precision precision : testing_util::kAllPrecisions) {
    const TemporaryFile bundle("cuda_plan.pets");
    testing_util::write_random_bundle(bundle.path(), mix.base, mix.tasks, precision);
    for (const uint64_t task_bytes : {uint64_t{0}, uint64_t{100} << 10}) {
      for (const uint32_t tokens : {64U, 1000U}) {
        SCOPED_TRACE(std::string(converter::precision_name(precision)) + ", tokens " + std::to_string(tokens));
        ModelOptions model_options;
        model_options.backend = Backend::kCuda;
        SessionOptions options;
        options.max_batch_tokens = tokens;
        options.device_task_bytes = task_bytes;
        const auto foretold = plan(bundle.c_str(), model_options, options, {delta.path()});
        ASSERT_TRUE(foretold) << foretold.status().c_str();
        auto model = Model::load(bundle.c_str(), model_options);
        ASSERT_TRUE(model) << model.status().c_str();
        ASSERT_TRUE((*model)->add_tasks(delta.c_str()));
        const uint64_t base_bytes = (*model)->memory().device_bytes;
        EXPECT_GT(base_bytes, 0U);
        {
          auto session = Session::create(*model, options);
          ASSERT_TRUE(session) << session.status().c_str();
          EXPECT_EQ((*model)->memory().device_bytes, base_bytes + (*session)->device_bytes());
          EXPECT_EQ(foretold->device_bytes, base_bytes + (*session)->device_bytes());
          EXPECT_EQ(foretold->total_bytes, (*model)->memory().total_bytes);
        }
        EXPECT_EQ((*model)->memory().device_bytes, base_bytes);
      }
    }
  }
}

TEST(CudaPlan, ALimitIsKeptToTheByte) {
  Mix mix(12);
  const TemporaryFile bundle("cuda_limit.pets");
  testing_util::write_random_bundle(bundle.path(), mix.base, mix.tasks);
  ModelOptions options;
  options.backend = Backend::kCuda;
  const auto foretold = plan(bundle.c_str(), options);
  ASSERT_TRUE(foretold) << foretold.status().c_str();
  options.memory_limit = foretold->total_bytes;
  {
    auto model = Model::load(bundle.c_str(), options);
    ASSERT_TRUE(model) << model.status().c_str();
    EXPECT_TRUE(Session::create(*model));
  }
  --options.memory_limit;
  auto model = Model::load(bundle.c_str(), options);
  ASSERT_TRUE(model) << model.status().c_str();
  const auto session = Session::create(*model);
  ASSERT_FALSE(session);
  EXPECT_EQ(session.status().code(), ErrorCode::kResourceExhausted) << session.status().c_str();
  options.memory_limit = foretold->mapped_bytes;  // the base's copy on the device does not fit
  EXPECT_FALSE(Model::load(bundle.c_str(), options));
}

}  // namespace
}  // namespace pets
