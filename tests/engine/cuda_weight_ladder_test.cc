// Which step of the ladder is taken on which device, and what then lies in the device's memory: emulated devices, since no machine has all.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/testing_util/random_model.h"

#include "pets/pets.h"
#include "runtime/cuda/base_tables.h"
#include "runtime/cuda/emulation/emulated_host.h"
#include "runtime/cuda/shape.h"
#include "runtime/engine/model_impl.h"

namespace pets::cuda {
namespace {

using converter::Precision;
using converter::Target;

/// Tiles take these sizes as they are.
constexpr testing_util::ModelShape kEven{64, 2, 2, 96, 211, 96, 2};
/// And this intermediate size only when it is padded.
constexpr testing_util::ModelShape kPadded{64, 2, 2, 100, 211, 96, 2};

constexpr HostAccess kCard{false, false, true, true}, kCardWithHmm{false, true, true, true}, kOrin{true, false, true, true},
    kOrinWithoutReadOnly{true, false, true, false}, kThor{true, true, true, true}, kNothing{true, false, false, false};

class WeightLadder : public testing::Test {
 protected:
  WeightLadder() : file_("ladder.pets") { write(kEven, Precision::kFloat16); }
  ~WeightLadder() override {
    EXPECT_EQ(emulated_host().registered, 0U);
    emulated_host() = {};
  }

  void write(const testing_util::ModelShape& shape, Precision precision, Target target = Target::kCuda) {
    testing_util::write_random_bundle(file_.path(), testing_util::random_base(shape, 3), {}, precision, target);
  }
  Result<std::shared_ptr<Model>> load(const HostAccess& access, WeightMemory memory = WeightMemory::kAuto) {
    emulated_host().access = access;
    ModelOptions options;
    options.backend = Backend::kCuda;
    options.weight_memory = memory;
    return Model::load(file_.c_str(), options);
  }
  std::shared_ptr<Model> loaded(const HostAccess& access, WeightMemory memory = WeightMemory::kAuto) {
    auto model = load(access, memory);
    EXPECT_TRUE(model) << model.status().c_str();
    return model ? std::move(model).value() : nullptr;
  }
  std::string refusal(const HostAccess& access, WeightMemory memory) {
    const auto model = load(access, memory);
    return model ? "" : model.status().c_str();
  }

  testing_util::TemporaryFile file_;
};

TEST_F(WeightLadder, TakesTheFirstStepThatTheDeviceHas) {
  const struct {
    HostAccess access;
    WeightMemory taken;
    const char* reason;
  } cases[] = {
      {kThor, WeightMemory::kHostPageTables, ""},
      {kOrin, WeightMemory::kRegistered, "host-page-tables: the device does not follow the host's page tables"},
      {kOrinWithoutReadOnly, WeightMemory::kCopy,
       "host-page-tables: the device does not follow the host's page tables; "
       "registered: the device does not take memory that is mapped read-only"},
      {kNothing, WeightMemory::kCopy,
       "host-page-tables: the device does not follow the host's page tables; registered: the device does not take registered memory"},
      {kCard, WeightMemory::kCopy,
       "host-page-tables: the device does not follow the host's page tables; registered: the device has memory of its own, which is "
       "faster"},
      {kCardWithHmm, WeightMemory::kCopy, "host-page-tables, registered: the device has memory of its own, which is faster"},
  };
  for (const auto& test : cases) {
    const auto model = loaded(test.access);
    ASSERT_NE(model, nullptr);
    EXPECT_EQ(model->weight_memory(), test.taken) << weight_memory_name(test.taken);
    EXPECT_EQ(model->weight_memory_reason(), test.reason);
    EXPECT_EQ(emulated_host().registered, test.taken == WeightMemory::kRegistered ? 1U : 0U);
  }
}

TEST_F(WeightLadder, StepsDownWhereARegistrationIsRefusedAfterAll) {
  emulated_host().registration_fails = true;
  const auto model = loaded(kOrin);
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->weight_memory(), WeightMemory::kCopy);
  EXPECT_NE(model->weight_memory_reason().find("; registered: the emulated registration of "), std::string_view::npos)
      << model->weight_memory_reason();
  EXPECT_NE(refusal(kOrin, WeightMemory::kRegistered).find("weight memory 'registered': the emulated registration of"), std::string::npos);
}

TEST_F(WeightLadder, AnyStepThatTheDeviceHasMayBeAskedFor) {
  for (const HostAccess& access : {kThor, kCardWithHmm}) {  // on a card slowly
    for (const WeightMemory memory : {WeightMemory::kHostPageTables, WeightMemory::kRegistered, WeightMemory::kCopy}) {
      const auto model = loaded(access, memory);
      ASSERT_NE(model, nullptr);
      EXPECT_EQ(model->weight_memory(), memory);
      EXPECT_EQ(model->weight_memory_reason(), "");
    }
  }
  EXPECT_EQ(refusal(kOrin, WeightMemory::kHostPageTables),
            "backend cuda: weight memory 'host-page-tables': the device does not follow the host's page tables");
  EXPECT_EQ(refusal(kNothing, WeightMemory::kRegistered),
            "backend cuda: weight memory 'registered': the device does not take registered memory");
  EXPECT_EQ(refusal(kOrinWithoutReadOnly, WeightMemory::kRegistered),
            "backend cuda: weight memory 'registered': the device does not take memory that is mapped read-only");
}

/// A linear's weight and, where it has one, its scale.
template <class T>
void add_weight(const BaseWeight<T>& weight, size_t out, size_t in, std::vector<std::pair<const void*, size_t>>& found) {
  if (weight.integers == nullptr) {
    found.emplace_back(weight.values, out * in * sizeof(T));
  } else {
    EXPECT_EQ(weight.values, nullptr);
    found.insert(found.end(), {{weight.integers, out * in}, {weight.scale, out * sizeof(float)}});
  }
}

/// Every weight and table of a base, and how many bytes it has.
template <class T>
std::vector<std::pair<const void*, size_t>> operands(const engine::BaseWeights& base, const BaseTables<T>& tables) {
  const size_t h = base.hidden, i = base.intermediate;
  std::vector<std::pair<const void*, size_t>> found = {{tables.word, base.vocabulary * h * sizeof(T)},
                                                       {tables.position, base.positions * h * sizeof(T)},
                                                       {tables.token_type, base.token_types * h * sizeof(T)},
                                                       {tables.pooler, h * h * sizeof(T)},
                                                       {tables.pooler_bias, h * sizeof(float)},
                                                       {tables.embeddings_norm.gamma, h * sizeof(float)},
                                                       {tables.embeddings_norm.beta, h * sizeof(float)}};
  for (const LayerTables<T>& layer : tables.layer) {
    add_weight(layer.query_key_value, 3 * h, h, found);
    add_weight(layer.attention_output, h, h, found);
    add_weight(layer.up, i, h, found);
    add_weight(layer.down, h, i, found);
    for (uint32_t n = 0; n < engine::kLinearSites; ++n) found.emplace_back(layer.bias[n], (n == engine::kUp ? i : h) * sizeof(float));
    for (const TaskNorm& norm : layer.norm) found.insert(found.end(), {{norm.gamma, h * sizeof(float)}, {norm.beta, h * sizeof(float)}});
  }
  return found;
}

template <class T>
void expect_in_place(const engine::BaseWeights& base, WeightMemory memory) {
  SCOPED_TRACE(weight_memory_name(memory));
  auto mapping = WeightMapping::open(base, memory, kThor);
  ASSERT_TRUE(mapping) << mapping.status().c_str();
  const std::byte* const begin = mapping->find(base.segment.data());
  ASSERT_NE(begin, nullptr);
  EXPECT_EQ(begin == base.segment.data(), memory == WeightMemory::kHostPageTables);
  const auto tables = BaseTables<T>::create(base, std::move(*mapping));
  ASSERT_TRUE(tables) << tables.status().c_str();
  EXPECT_EQ(tables->bytes(), 0U);
  EXPECT_EQ(BaseTables<T>::count_bytes(base, true), 0U);
  size_t seen = 0;
  for (const auto& [operand, bytes] : operands(base, *tables)) {
    const auto* const first = static_cast<const std::byte*>(operand);
    EXPECT_TRUE(first >= begin && first + bytes <= begin + base.segment.size());
    EXPECT_EQ((first - begin) % 256, 0) << "what cudaMalloc gives";
    seen += bytes;
  }
  EXPECT_GT(seen, base.segment.size() / 2);
}

TEST_F(WeightLadder, InPlaceNothingOfTheBaseIsInTheDevicesMemory) {
  for (const WeightMemory memory : {WeightMemory::kHostPageTables, WeightMemory::kRegistered}) {
    for (const Precision precision : testing_util::kAllPrecisions) {
      write(kEven, precision);
      const auto model = loaded(kThor, memory);
      ASSERT_NE(model, nullptr);
      EXPECT_EQ(model->impl().device->base_bytes(), 0U);
      const engine::BaseWeights& base = model->impl().base;
      if (precision == Precision::kFloat32) expect_in_place<float>(base, memory);
      if (precision == Precision::kFloat16 || precision == Precision::kInt8) expect_in_place<Half>(base, memory);
      if (precision == Precision::kBFloat16) expect_in_place<BFloat16>(base, memory);
    }
  }
}

TEST_F(WeightLadder, OnlyWhatIsPaddedIsCopied) {
  write(kPadded, Precision::kFloat16);
  const auto copied = loaded(kNothing), in_place = loaded(kThor);
  ASSERT_TRUE(copied != nullptr && in_place != nullptr);
  const uint64_t padded = 112, linear = padded * kPadded.hidden * sizeof(Half), bias = padded * sizeof(float);
  EXPECT_EQ(in_place->impl().device->base_bytes(), kPadded.layers * (2 * linear + bias));
  EXPECT_EQ(copied->impl().device->base_bytes(), BaseTables<Half>::count_bytes(copied->impl().base, false));
  EXPECT_EQ(in_place->impl().device->base_bytes(), BaseTables<Half>::count_bytes(in_place->impl().base, true));
  EXPECT_LT(in_place->impl().device->base_bytes(), copied->impl().device->base_bytes() / 2);
}

TEST_F(WeightLadder, Int8HasHalfTheBytesOfHalfAndScales) {
  for (const auto& shape : {kEven, kPadded}) {
    const uint64_t hidden = shape.hidden, intermediate = round_up(shape.intermediate, 16);
    const uint64_t weights = shape.layers * (4 * hidden * hidden + 2 * hidden * intermediate);
    const uint64_t scales = shape.layers * (5 * hidden + intermediate);
    for (const Target target : {Target::kCpu, Target::kCuda}) {
      write(shape, Precision::kFloat16, target);
      const auto half = loaded(kNothing);
      write(shape, Precision::kInt8, target);
      const auto int8 = loaded(kNothing);
      ASSERT_TRUE(half != nullptr && int8 != nullptr);
      EXPECT_EQ(int8->impl().device->base_bytes(), half->impl().device->base_bytes() - weights + scales * sizeof(float));
    }
  }
}

TEST_F(WeightLadder, OfPaddedInt8TheFfnsWeightsAndScalesAreCopied) {
  write(kPadded, Precision::kInt8);
  const auto in_place = loaded(kThor);
  ASSERT_NE(in_place, nullptr);
  constexpr uint64_t kWidth = 112;
  // up: weights, scales and bias; down: weights.
  EXPECT_EQ(in_place->impl().device->base_bytes(), kPadded.layers * (2 * kWidth * kPadded.hidden + 2 * kWidth * sizeof(float)));
}

TEST_F(WeightLadder, IsPlannedToTheByte) {
  const std::pair<testing_util::ModelShape, Precision> cases[] = {
      {kEven, Precision::kFloat16}, {kPadded, Precision::kFloat16}, {kEven, Precision::kInt8}, {kPadded, Precision::kInt8}};
  for (const auto& [shape, precision] : cases) {
    write(shape, precision);
    for (const HostAccess& access : {kCard, kOrin, kThor}) {
      const auto model = loaded(access);
      ASSERT_NE(model, nullptr);
      auto session = Session::create(model);
      ASSERT_TRUE(session) << session.status().c_str();
      ModelOptions options;
      options.backend = Backend::kCuda;
      const auto foretold = plan(file_.c_str(), options);
      ASSERT_TRUE(foretold) << foretold.status().c_str();
      EXPECT_EQ(foretold->device_bytes, model->memory().device_bytes);
      EXPECT_EQ(foretold->total_bytes, model->memory().total_bytes);
    }
  }
}

TEST_F(WeightLadder, ACopyThatWasNotPlannedKeepsTheLimit) {
  ModelOptions options;
  options.backend = Backend::kCuda;
  emulated_host().access = kOrin;
  const auto foretold = plan(file_.c_str(), options);
  ASSERT_TRUE(foretold) << foretold.status().c_str();
  options.memory_limit = foretold->mapped_bytes + foretold->model_bytes;
  EXPECT_TRUE(Model::load(file_.c_str(), options));
  emulated_host().registration_fails = true;
  const auto refused = Model::load(file_.c_str(), options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.status().code(), ErrorCode::kResourceExhausted) << refused.status().c_str();
}

TEST_F(WeightLadder, TheCopyOfEitherLayoutIsOfOneSize) {
  for (const auto& shape : {kEven, kPadded}) {
    write(shape, Precision::kBFloat16);
    const auto for_cuda = loaded(kNothing);
    write(shape, Precision::kBFloat16, Target::kCpu);
    const auto for_cpu = loaded(kNothing);
    ASSERT_TRUE(for_cuda != nullptr && for_cpu != nullptr);
    EXPECT_EQ(for_cuda->impl().device->base_bytes(), for_cpu->impl().device->base_bytes());
  }
}

}  // namespace
}  // namespace pets::cuda
