// Bases that were packed for a GPU: what lies where, what is refused at packing, and bundles that mix the layouts of two backends.
#include <gtest/gtest.h>

#include <functional>

#include "tests/bundle/fixture.h"

#include "converter/bundle/bundle_base.h"
#include "kernels/gemm/panel_layout.h"

namespace pets::bundle_test {
namespace {

using converter::BaseModel;
using converter::Precision;
using converter::Target;
using schema::Base;
using schema::DataType;
using schema::Layout;
using schema::Tensor;

constexpr Precision kPrecisions[] = {Precision::kFloat32, Precision::kFloat16, Precision::kBFloat16, Precision::kInt8};

/// Sizes that tiles take: hidden 64, intermediate 48.
const BaseModel& even_base() {
  static const BaseModel base = [] {
    BaseModel made = testing_util::random_base({64, 2, 2, 48, 120, 20, 2}, 4);
    testing_util::add_tokenizer(made);
    return made;
  }();
  return base;
}

ChangedBundle for_cuda(Precision precision) { return ChangedBundle(bundle_bytes(even_base(), {}, precision, Target::kCuda)); }

TEST(CudaTarget, HasTheBaseAsAGpusKernelsReadIt) {
  for (const Precision precision : kPrecisions) {
    SCOPED_TRACE(converter::precision_name(precision));
    ChangedBundle bundle = for_cuda(precision);
    const auto file = bundle.open();
    ASSERT_TRUE(file) << file.status().c_str();
    EXPECT_EQ(converter::target_of_bundle(**file), Target::kCuda);
    EXPECT_EQ(converter::precision_of_bundle(**file), precision);
    EXPECT_EQ((*file)->base_fingerprint(), even_base().fingerprint);
    const Base& base = *(*file)->base().base;
    const DataType type = converter::data_type_of(precision);
    for (const schema::Layer* layer : *base.encoder()) {
      for (const schema::Linear* linear :
           {layer->query(), layer->key(), layer->value(), layer->attention_output(), layer->up(), layer->down()}) {
        EXPECT_EQ(linear->weight()->layout(), Layout::kPlain);
        EXPECT_EQ(linear->weight()->dtype(), type);
        EXPECT_EQ(linear->scale() != nullptr, precision == Precision::kInt8);
        EXPECT_EQ(linear->bias()->dtype(), DataType::kFloat32);
        EXPECT_EQ(linear->weight()->offset() % 256, 0U);
      }
      const uint64_t bytes = layer->query()->weight()->length();  // one matrix [3 hidden, hidden]
      EXPECT_EQ(layer->key()->weight()->offset(), layer->query()->weight()->offset() + bytes);
      EXPECT_EQ(layer->value()->weight()->offset(), layer->key()->weight()->offset() + bytes);
      if (precision != Precision::kInt8) continue;
      const uint64_t scale_bytes = layer->query()->scale()->length();  // and one vector [3 hidden]
      EXPECT_EQ(scale_bytes, 64 * sizeof(float));
      EXPECT_EQ(layer->key()->scale()->offset(), layer->query()->scale()->offset() + scale_bytes);
      EXPECT_EQ(layer->value()->scale()->offset(), layer->key()->scale()->offset() + scale_bytes);
    }
    const DataType computed = precision == Precision::kInt8 ? DataType::kFloat16 : type;
    for (const Tensor* table : {base.word_embeddings(), base.position_embeddings(), base.token_type_embeddings()}) {
      EXPECT_EQ(table->dtype(), computed);
    }
    EXPECT_EQ(base.pooler()->weight()->layout(), Layout::kPlain);
    EXPECT_EQ(base.pooler()->weight()->dtype(), computed);
  }
}

TEST(CudaTarget, HoldsTheValuesOfTheCpusBase) {
  for (const Precision precision : kPrecisions) {
    SCOPED_TRACE(converter::precision_name(precision));
    ChangedBundle cuda = for_cuda(precision), cpu(bundle_bytes(even_base(), {}, precision));
    const auto cuda_file = cuda.open(), cpu_file = cpu.open();
    ASSERT_TRUE(cuda_file && cpu_file);
    EXPECT_EQ(converter::target_of_bundle(**cpu_file), Target::kCpu);
    const BaseModel found = converter::base_of_bundle(**cuda_file), expected = converter::base_of_bundle(**cpu_file);
    for (size_t n = 0; n < expected.encoder.size(); ++n) {
      EXPECT_EQ(found.encoder[n].key.weight.values, expected.encoder[n].key.weight.values);
      EXPECT_EQ(found.encoder[n].value.bias, expected.encoder[n].value.bias);
      EXPECT_EQ(found.encoder[n].up.weight.values, expected.encoder[n].up.weight.values);
      EXPECT_EQ(found.encoder[n].down.weight.values, expected.encoder[n].down.weight.values);
    }
    std::vector<float> table = expected.position_embeddings.values;  // exact
    for (float& value : table) {
      if (precision == Precision::kFloat16 || precision == Precision::kInt8)
        value = kernels::float_from_half(kernels::half_from_float(value));
      if (precision == Precision::kBFloat16) value = kernels::float_from_bfloat(kernels::bfloat_from_float(value));
    }
    EXPECT_EQ(found.position_embeddings.values, table);
    EXPECT_EQ(found.fingerprint, expected.fingerprint);
  }
}

TEST(CudaTarget, RefusesWhatAGpuWouldNotReadInPlace) {
  BaseModel large = even_base();
  large.word_embeddings.values[65] = 1e5F;
  for (const Precision precision : {Precision::kFloat16, Precision::kInt8}) {  // whose tables are in fp16, too
    const auto half = converter::make_base_segment(large, precision, Target::kCuda);
    ASSERT_FALSE(half);
    expect_contains(half.status().c_str(), {"embeddings.word", "[1, 1] = 100000", "fp16"});
  }
  EXPECT_TRUE(converter::make_base_segment(large, Precision::kFloat16));  // there the tables stay float32
}

// ---- bundles that do not make sense

std::string refusal(Precision precision, const std::function<void(const Base&)>& change) {
  ChangedBundle bundle = for_cuda(precision);
  change(*bundle.roots().base);
  return bundle.refusal();
}

TEST(HostileCudaTarget, LayersForSeveralBackendsAreRefused) {
  const std::string panels = refusal(Precision::kFloat16, [](const Base& base) {
    set_field(base.encoder()->Get(1)->up()->weight(), Tensor::VT_LAYOUT, static_cast<uint8_t>(Layout::kPanels16));
  });
  expect_contains(panels, {"layer.1.ffn.up.weight has layout panels16, those before it plain"});
  ChangedBundle cpu;
  set_field(cpu.roots().base->encoder()->Get(0)->key()->weight(), Tensor::VT_LAYOUT, static_cast<uint8_t>(Layout::kPlain));
  expect_contains(cpu.refusal(), {"layer.0.attention.key.weight has layout plain, those before it panels16"});
}

TEST(HostileCudaTarget, TablesHaveTheTypeOfTheLinears) {
  const std::string other = refusal(Precision::kFloat16, [](const Base& base) {
    set_field(base.position_embeddings(), Tensor::VT_DTYPE, static_cast<uint8_t>(DataType::kBFloat16));
  });
  expect_contains(other, {"embeddings.position.weight has data type bfloat16, expected float16 beside linears of float16 in layout plain"});
  ChangedBundle cpu;
  const Tensor* table = cpu.roots().base->token_type_embeddings();
  set_field(table, Tensor::VT_DTYPE, static_cast<uint8_t>(DataType::kFloat16));
  set_field<uint64_t>(table, Tensor::VT_LENGTH, table->length() / 2);
  expect_contains(cpu.refusal(), {"embeddings.token_type.weight has data type float16, expected float32"});
}

TEST(HostileCudaTarget, ThePoolerIsInTheFormOfTheLinears) {
  const std::string panels = refusal(Precision::kFloat32, [](const Base& base) {
    set_field(base.pooler()->weight(), Tensor::VT_LAYOUT, static_cast<uint8_t>(Layout::kPanels16));
  });
  expect_contains(panels, {"pooler.weight has layout 2 (panels16), this build knows layout 1 (plain) here"});
  const std::string type = refusal(Precision::kFloat16, [](const Base& base) {
    set_field(base.pooler()->weight(), Tensor::VT_DTYPE, static_cast<uint8_t>(DataType::kBFloat16));
  });
  expect_contains(type, {"pooler.weight has data type 3 (bfloat16), this build knows float16 here"});
  ChangedBundle cpu;
  set_field(cpu.roots().base->pooler()->weight(), Tensor::VT_LAYOUT, static_cast<uint8_t>(Layout::kPlain));
  expect_contains(cpu.refusal(), {"pooler.weight has layout 1 (plain), this build knows layout 2 (panels16) here"});
}

TEST(HostileCudaTarget, EveryLengthIsTheShapes) {
  expect_contains(
      refusal(Precision::kFloat16, [](const Base& base) { set_field<uint64_t>(base.word_embeddings(), Tensor::VT_LENGTH, 120 * 64 * 4); }),
      {"embeddings.word.weight", "bytes"});
  expect_contains(refusal(Precision::kBFloat16,
                          [](const Base& base) {
                            const Tensor* weight = base.encoder()->Get(0)->value()->weight();
                            set_field<uint64_t>(weight, Tensor::VT_LENGTH, weight->length() + 2);
                          }),
                  {"layer.0.attention.value.weight", "bytes"});
}

TEST(HostileCudaTarget, Int8HasItsScalesAndHalvesBesideIt) {
  const std::string mixed = refusal(Precision::kFloat16, [](const Base& base) {
    set_field(base.encoder()->Get(1)->down()->weight(), Tensor::VT_DTYPE, static_cast<uint8_t>(DataType::kInt8));
  });
  expect_contains(mixed, {"layer.1.ffn.down.weight", "bytes"});
  const std::string scale = refusal(Precision::kInt8, [](const Base& base) {
    set_field(base.encoder()->Get(1)->up()->scale(), Tensor::VT_DTYPE, static_cast<uint8_t>(DataType::kFloat16));
  });
  expect_contains(scale, {"layer.1.ffn.up.scale has data type 2 (float16)"});
  const std::string table = refusal(Precision::kInt8, [](const Base& base) {
    set_field(base.position_embeddings(), Tensor::VT_DTYPE, static_cast<uint8_t>(DataType::kBFloat16));
  });
  expect_contains(table, {"embeddings.position.weight has data type bfloat16, expected float16 beside linears of int8 in layout plain"});
  const std::string pooler = refusal(Precision::kInt8, [](const Base& base) {
    set_field(base.pooler()->weight(), Tensor::VT_DTYPE, static_cast<uint8_t>(DataType::kInt8));
  });
  expect_contains(pooler, {"pooler.weight has data type 4 (int8), this build knows float16 here"});
}

}  // namespace
}  // namespace pets::bundle_test
