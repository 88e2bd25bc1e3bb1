// The base's linears in every precision: what comes back, what is refused at packing, and bundles whose precision makes no sense.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "tests/bundle/fixture.h"

#include "converter/bundle/bundle_base.h"
#include "kernels/gemm/panel_layout.h"

namespace pets::bundle_test {
namespace {

using converter::BaseModel;
using converter::Precision;
using schema::Base;
using schema::DataType;
using schema::Layout;
using schema::Tensor;

constexpr Precision kReduced[] = {Precision::kFloat16, Precision::kBFloat16, Precision::kInt8};

/// Inputs that fill no whole group (21 and 27), last panels of 5 and 11 outputs.
const BaseModel& odd_base() {
  static const BaseModel base = [] {
    testing_util::ModelShape shape;
    shape.hidden = 21;
    shape.layers = 2;
    shape.heads = 3;
    shape.intermediate = 27;
    shape.vocabulary = 30;
    shape.positions = 8;
    return testing_util::random_base(shape, 9);
  }();
  return base;
}

ChangedBundle odd_bundle(Precision precision) { return ChangedBundle(bundle_bytes(odd_base(), {}, precision)); }

const schema::Linear* linear_of(const Base& base) { return base.encoder()->Get(1)->down(); }  // [21, 27]

TEST(ReducedPrecision, IsForTheLayersLinearsOnly) {
  for (const Precision precision : kReduced) {
    SCOPED_TRACE(converter::precision_name(precision));
    ChangedBundle bundle(bundle_bytes(small_base(), small_tasks(), precision));
    const auto file = bundle.open();
    ASSERT_TRUE(file) << file.status().c_str();
    for (const auto& task : (*file)->tasks()) EXPECT_TRUE(task.status) << task.status.c_str();
    const Base& base = *(*file)->base().base;
    for (const schema::Layer* layer : *base.encoder()) {
      for (const schema::Linear* linear :
           {layer->query(), layer->key(), layer->value(), layer->attention_output(), layer->up(), layer->down()}) {
        EXPECT_EQ(linear->weight()->dtype(), converter::data_type_of(precision));
        EXPECT_EQ(linear->scale() != nullptr, precision == Precision::kInt8);
        EXPECT_EQ(linear->bias()->dtype(), DataType::kFloat32);
      }
    }
    EXPECT_EQ(base.pooler()->weight()->dtype(), DataType::kFloat32);
    EXPECT_EQ(base.word_embeddings()->dtype(), DataType::kFloat32);
    EXPECT_EQ(converter::precision_of_bundle(**file), precision);
  }
}

TEST(ReducedPrecision, OddSizesComeBackRoundedOnce) {
  for (const Precision precision : kReduced) {
    SCOPED_TRACE(converter::precision_name(precision));
    ChangedBundle bundle = odd_bundle(precision);
    const auto file = bundle.open();
    ASSERT_TRUE(file) << file.status().c_str();
    const BaseModel back = converter::base_of_bundle(**file);
    for (size_t n = 0; n < odd_base().encoder.size(); ++n) {
      const converter::LayerWeights &given = odd_base().encoder[n], &found = back.encoder[n];
      const std::pair<const converter::LinearWeights*, const converter::LinearWeights*> linears[] = {
          {&given.query, &found.query}, {&given.up, &found.up}, {&given.down, &found.down}};
      for (const auto& [exact, stored] : linears) {
        ASSERT_EQ(stored->weight.rows, exact->weight.rows);
        ASSERT_EQ(stored->weight.columns, exact->weight.columns);
        EXPECT_EQ(stored->bias, exact->bias);
        for (uint64_t o = 0; o < exact->weight.rows; ++o) {
          float largest = 0, step = 0;
          for (uint64_t i = 0; i < exact->weight.columns; ++i) {
            const float* const value = exact->weight.values.data() + o * exact->weight.columns + i;
            largest = std::max(largest, std::fabs(*value));
            step = std::max({step, largest / 127, i % 2 != 0 ? std::fabs(value[0] + value[-1]) / 127.99F : 0});
          }
          for (uint64_t i = 0; i < exact->weight.columns; ++i) {
            const float value = exact->weight.values[o * exact->weight.columns + i];
            const float read = stored->weight.values[o * exact->weight.columns + i];
            if (precision == Precision::kFloat16) {
              ASSERT_EQ(read, kernels::float_from_half(kernels::half_from_float(value)));
            } else if (precision == Precision::kBFloat16) {
              ASSERT_EQ(read, kernels::float_from_bfloat(kernels::bfloat_from_float(value)));
            } else {  // half a step, and the rounding of scale and product
              ASSERT_NEAR(read, value, step * 0.5F + largest * 0x1p-22F) << o << " " << i;
            }
          }
        }
      }
    }
  }
}

TEST(ReducedPrecision, InputsBeyondTheLastAreStoredAsZeros) {
  for (const Precision precision : {Precision::kBFloat16, Precision::kInt8}) {
    SCOPED_TRACE(converter::precision_name(precision));
    ChangedBundle bundle = odd_bundle(precision);
    const auto file = bundle.open();
    ASSERT_TRUE(file) << file.status().c_str();
    const Tensor& weight = *linear_of(*(*file)->base().base)->weight();
    EXPECT_EQ(weight.layout(), precision == Precision::kInt8 ? Layout::kPanels16By4Bounded : Layout::kPanels16By2);
    ASSERT_EQ(weight.length(), 21U * 28U * (precision == Precision::kInt8 ? 1U : 2U));
    const auto* bytes = bundle::tensor_as<uint8_t>(&weight, (*file)->base().bytes);
    const size_t size = precision == Precision::kInt8 ? 1 : 2, group = precision == Precision::kInt8 ? 4 : 2;
    for (const auto& [first, width] : {std::pair<size_t, size_t>{0, 16}, {16 * 28, 5}}) {
      for (size_t column = 0; column < width; ++column) {  // input 27 is the last of the last group
        const size_t at = first + (27 / group * width + column) * group + 27 % group;
        for (size_t b = 0; b < size; ++b) EXPECT_EQ(bytes[at * size + b], 0) << column;
      }
    }
  }
}

TEST(ReducedPrecision, WeightsThatItCannotHoldAreRefusedBySite) {
  const struct {
    Precision precision;
    float value;
  } cases[] = {{Precision::kFloat16, 1e5F},
               {Precision::kFloat16, std::nanf("")},
               {Precision::kBFloat16, std::numeric_limits<float>::max()},  // would round to infinity
               {Precision::kBFloat16, std::numeric_limits<float>::infinity()},
               {Precision::kBFloat16, std::nanf("")},
               {Precision::kInt8, -std::numeric_limits<float>::infinity()},
               {Precision::kInt8, std::nanf("")}};
  for (const auto& test : cases) {
    BaseModel base = small_base();
    base.encoder[1].up.weight.values[30] = test.value;
    const auto segment = converter::make_base_segment(base, test.precision);
    ASSERT_FALSE(segment) << converter::precision_name(test.precision) << " " << test.value;
    expect_contains(segment.status().c_str(), {"layer.1.ffn.up", "[1, 6]", std::string(converter::precision_name(test.precision))});
    EXPECT_TRUE(converter::make_base_segment(base, Precision::kFloat32));
  }
  BaseModel large = small_base();
  large.encoder[1].up.weight.values[30] = 3e38F;
  EXPECT_TRUE(converter::make_base_segment(large, Precision::kBFloat16));
  EXPECT_TRUE(converter::make_base_segment(large, Precision::kInt8));
}

TEST(ReducedPrecision, AnOutputOfZerosHasScaleZero) {
  BaseModel base = odd_base();
  for (uint64_t i = 0; i < 27; ++i) base.encoder[1].down.weight.values[20 * 27 + i] = 0;
  ChangedBundle bundle(bundle_bytes(base, {}, Precision::kInt8));
  const auto file = bundle.open();
  ASSERT_TRUE(file) << file.status().c_str();
  EXPECT_EQ(bundle::tensor_as<float>(linear_of(*(*file)->base().base)->scale(), (*file)->base().bytes)[20], 0);
  for (uint64_t i = 0; i < 27; ++i) EXPECT_EQ(converter::base_of_bundle(**file).encoder[1].down.weight.values[20 * 27 + i], 0);
}

// ---- bundles that do not make sense

std::string weight_refusal(Precision precision, const std::function<void(const schema::Linear*)>& change) {
  ChangedBundle bundle = odd_bundle(precision);
  change(linear_of(*bundle.roots().base));
  return bundle.refusal();
}

TEST(HostilePrecision, AnUnknownLayoutIsNamedBesideThoseThatThisBuildReads) {
  for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16, Precision::kInt8}) {
    const std::string said =
        weight_refusal(precision, [](const schema::Linear* linear) { set_field(linear->weight(), Tensor::VT_LAYOUT, uint8_t{9}); });
    expect_contains(said, {"layer.1.ffn.down.weight", "layout 9 (unknown)",
                           "this build knows layout 2 (panels16) or 4 (panels16 by 2) or 6 (panels16 by 4 bounded) or 1 (plain) here"});
  }
}

TEST(HostilePrecision, ALayoutGoesWithItsTypeOnly) {
  const struct {
    Precision precision;
    Layout layout;
    const char* said;
  } cases[] = {
      {Precision::kFloat32, Layout::kPanels16By4Bounded,
       "layout 6 (panels16 by 4 bounded), this build knows layout 2 (panels16) or 1 (plain) for float32"},
      {Precision::kFloat16, Layout::kPanels16By2,
       "layout 4 (panels16 by 2), this build knows layout 2 (panels16) or 1 (plain) for float16"},
      {Precision::kBFloat16, Layout::kPanels16, "layout 2 (panels16), this build knows layout 4 (panels16 by 2) or 1 (plain) for bfloat16"},
      {Precision::kInt8, Layout::kPanels16By2,
       "layout 4 (panels16 by 2), this build knows layout 6 (panels16 by 4 bounded) or 1 (plain) for int8"}};
  for (const auto& test : cases) {
    const std::string said = weight_refusal(test.precision, [&](const schema::Linear* linear) {
      set_field(linear->weight(), Tensor::VT_LAYOUT, static_cast<uint8_t>(test.layout));
    });
    expect_contains(said, {"layer.1.ffn.down.weight", test.said});
  }
}

TEST(HostilePrecision, Int8WithoutTheBoundOnPairsIsRefused) {
  const std::string said = weight_refusal(Precision::kInt8, [](const schema::Linear* linear) {
    set_field(linear->weight(), Tensor::VT_LAYOUT, static_cast<uint8_t>(Layout::kPanels16By4));
  });
  expect_contains(said, {"layer.1.ffn.down.weight has layout 5 (panels16 by 4)", "6 (panels16 by 4 bounded)"});
}

TEST(HostilePrecision, TheLengthCountsWholeGroups) {
  for (const Precision precision : {Precision::kBFloat16, Precision::kInt8}) {
    for (const uint64_t values : {21 * 27, 21 * 28 - 1, 21 * 28 + 1}) {
      const std::string said = weight_refusal(precision, [&](const schema::Linear* linear) {
        set_field<uint64_t>(linear->weight(), Tensor::VT_LENGTH, values * (precision == Precision::kInt8 ? 1 : 2));
      });
      expect_contains(said, {"layer.1.ffn.down.weight", "bytes"});
    }
  }
}

TEST(HostilePrecision, Int8NeedsAScaleOfEveryOutput) {
  ChangedBundle missing = odd_bundle(Precision::kInt8);
  const auto* linear = reinterpret_cast<const flatbuffers::Table*>(linear_of(*missing.roots().base));
  flatbuffers::WriteScalar<flatbuffers::voffset_t>(const_cast<uint8_t*>(linear->GetVTable()) + schema::Linear::VT_SCALE, 0);
  expect_contains(missing.refusal(), {"tensor layer.0.attention.query.scale is missing"});  // tables of one form share a vtable
  const std::string half = weight_refusal(
      Precision::kInt8, [](const schema::Linear* l) { set_field(l->scale(), Tensor::VT_DTYPE, static_cast<uint8_t>(DataType::kFloat16)); });
  expect_contains(half, {"layer.1.ffn.down.scale", "float16", "float32"});
  const std::string shorter = weight_refusal(Precision::kInt8, [](const schema::Linear* l) {
    flatbuffers::WriteScalar<uint64_t>(const_cast<uint8_t*>(l->scale()->shape()->Data()), 20);
  });
  expect_contains(shorter, {"layer.1.ffn.down.scale", "[21]", "[20]"});
  const std::string outside = weight_refusal(
      Precision::kInt8, [](const schema::Linear* l) { set_field<uint64_t>(l->scale(), Tensor::VT_OFFSET, UINT64_MAX - 63); });
  expect_contains(outside, {"layer.1.ffn.down.scale", "do not lie inside"});
}

/// Makes an int8 weight a float32 one, as far as its tensor says.
void call_it_float(const schema::Linear* linear) {
  set_field(linear->weight(), Tensor::VT_DTYPE, static_cast<uint8_t>(DataType::kFloat32));
  set_field(linear->weight(), Tensor::VT_LAYOUT, static_cast<uint8_t>(Layout::kPanels16));
  set_field<uint64_t>(linear->weight(), Tensor::VT_LENGTH, linear->weight()->shape()->Get(0) * linear->weight()->shape()->Get(1) * 4);
}

TEST(HostilePrecision, NothingButInt8HasAScale) {
  ChangedBundle bundle = odd_bundle(Precision::kInt8);
  call_it_float(bundle.roots().base->encoder()->Get(0)->query());
  expect_contains(bundle.refusal(), {"layer.0.attention.query.weight is float32 and has a scale beside it"});
}

TEST(HostilePrecision, LayersInSeveralPrecisionsAreRefused) {
  ChangedBundle bundle = odd_bundle(Precision::kFloat32);
  const Tensor* weight = linear_of(*bundle.roots().base)->weight();
  set_field(weight, Tensor::VT_DTYPE, static_cast<uint8_t>(DataType::kFloat16));
  set_field<uint64_t>(weight, Tensor::VT_LENGTH, weight->length() / 2);
  expect_contains(bundle.refusal(), {"layer.1.ffn.down.weight has data type float16, those before it float32"});
}

TEST(HostilePrecision, ThePoolerIsNoDotProduct) {
  ChangedBundle bundle = odd_bundle(Precision::kFloat32);
  set_field(bundle.roots().base->pooler()->weight(), Tensor::VT_DTYPE, static_cast<uint8_t>(DataType::kInt8));
  expect_contains(bundle.refusal(), {"pooler.weight", "data type 4 (int8)", "float32 or float16"});
  ChangedBundle half = odd_bundle(Precision::kFloat32);  // which older versions could have written
  const Tensor* weight = half.roots().base->pooler()->weight();
  set_field(weight, Tensor::VT_DTYPE, static_cast<uint8_t>(DataType::kFloat16));
  set_field<uint64_t>(weight, Tensor::VT_LENGTH, weight->length() / 2);
  EXPECT_EQ(half.refusal(), "");
}

}  // namespace
}  // namespace pets::bundle_test
