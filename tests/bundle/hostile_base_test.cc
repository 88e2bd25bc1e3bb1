// Bases that do not make sense, with checksums that hold: refused, by name.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "tests/bundle/fixture.h"

#include "schema/bundle_format.h"

namespace pets::bundle_test {
namespace {

using schema::Base;
using schema::Tensor;

std::string refusal_of(const std::function<void(converter::BaseModel&)>& change) {
  converter::BaseModel base = small_base();
  change(base);
  return ChangedBundle(bundle_bytes(base, {})).refusal();
}

/// Changes one field of a tensor that is there.
template <typename T>
std::string tensor_refusal(const std::function<const Tensor*(const Base&)>& choose, flatbuffers::voffset_t field, T value) {
  ChangedBundle bundle;
  set_field(choose(*bundle.roots().base), field, value);
  return bundle.refusal();
}

const Tensor* key_weight(const Base& base) { return base.encoder()->Get(1)->key()->weight(); }

TEST(HostileBase, SizesOutOfRangeAreRefused) {
  const struct {
    flatbuffers::voffset_t field;
    const char* name;
  } fields[] = {{Base::VT_HIDDEN, "hidden"},
                {Base::VT_LAYERS, "layers"},
                {Base::VT_HEADS, "heads"},
                {Base::VT_INTERMEDIATE, "intermediate"},
                {Base::VT_VOCABULARY, "vocabulary"},
                {Base::VT_POSITIONS, "positions"},
                {Base::VT_TOKEN_TYPES, "token_types"}};
  for (const auto& field : fields) {
    for (const uint32_t value : {0U, UINT32_MAX, UINT32_MAX / 2 + 1}) {
      ChangedBundle bundle;
      set_field(bundle.roots().base, field.field, value);
      expect_contains(bundle.refusal(), {"small.pets: base", field.name, std::to_string(value)});
    }
  }
}

TEST(HostileBase, HeadsMustDivideHidden) {
  ChangedBundle bundle;
  set_field(bundle.roots().base, Base::VT_HEADS, 7U);
  expect_contains(bundle.refusal(), {"hidden size 24", "7 heads"});
}

TEST(HostileBase, SizesThatDoNotFitTheTensorsNameExpectedAndFound) {
  ChangedBundle intermediate, vocabulary;
  set_field(intermediate.roots().base, Base::VT_INTERMEDIATE, 41U);
  expect_contains(intermediate.refusal(), {"layer.0.ffn.up.weight", "expected shape [41, 24]", "found [40, 24]"});
  set_field(vocabulary.roots().base, Base::VT_VOCABULARY, 121U);
  expect_contains(vocabulary.refusal(), {"embeddings.word.weight", "[121, 24]", "[120, 24]"});
}

TEST(HostileBase, ALayerCountThatLiesIsRefused) {
  ChangedBundle bundle;
  set_field(bundle.roots().base, Base::VT_LAYERS, 3U);
  expect_contains(bundle.refusal(), {"expected 3 layers", "found 2"});
}

TEST(HostileBase, TheNormsEpsilonMustBePositiveAndFinite) {
  for (const float value : {0.0F, -1e-12F, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    ChangedBundle bundle;
    set_field(bundle.roots().base, Base::VT_NORM_EPSILON, value);
    expect_contains(bundle.refusal(), {"norm_epsilon"});
  }
}

TEST(HostileBase, AnUnknownActivationIsRefusedWithBothNumbers) {
  ChangedBundle bundle;
  set_field(bundle.roots().base, Base::VT_ACTIVATION, uint8_t{99});
  expect_contains(bundle.refusal(), {"activation 99", "knows 0 to 11"});
}

TEST(HostileBase, APadIdBeyondTheVocabularyIsRefused) {
  expect_contains(refusal_of([](auto& base) { base.pad_id = base.vocabulary; }), {"pad_id"});
}

TEST(HostileBase, TensorOffsetsThatOverflowOrPointElsewhereAreRefused) {
  for (const uint64_t value :
       {UINT64_MAX, UINT64_MAX - 63, uint64_t{1} << 63, uint64_t{1} << 32, uint64_t{0}, uint64_t{64}, uint64_t{100}}) {
    expect_contains(tensor_refusal<uint64_t>(key_weight, Tensor::VT_OFFSET, value), {"layer.1.attention.key.weight", "do not lie inside"});
  }
}

TEST(HostileBase, ATensorMustLeaveReadableBytesBehindIt) {
  ChangedBundle bundle;
  const uint64_t length = bundle.directory().base()->length();
  const Tensor* bias = bundle.roots().base->pooler()->bias();
  set_field<uint64_t>(bias, Tensor::VT_OFFSET, length - bias->length() / 64 * 64 - 64);
  expect_contains(bundle.refusal(), {"pooler.bias", "do not lie inside"});
}

TEST(HostileBase, LengthsThatDoNotMatchTheShapeAreRefused) {
  for (const uint64_t value : {uint64_t{0}, UINT64_MAX, uint64_t{24 * 24 * 4 + 4}, uint64_t{24 * 24 * 4 - 4}}) {
    expect_contains(tensor_refusal<uint64_t>(key_weight, Tensor::VT_LENGTH, value), {"layer.1.attention.key.weight", "bytes"});
  }
}

TEST(HostileBase, TensorsThatOverlapAreRefused) {
  ChangedBundle bundle;
  const schema::Layer* layer = bundle.roots().base->encoder()->Get(0);
  set_field<uint64_t>(layer->key()->weight(), Tensor::VT_OFFSET, layer->query()->weight()->offset());
  expect_contains(bundle.refusal(), {"layer.0.attention.query.weight", "layer.0.attention.key.weight", "overlap"});
}

TEST(HostileBase, LayoutsAndTypesThatThisBuildDoesNotKnowAreNamed) {
  expect_contains(tensor_refusal<uint8_t>(key_weight, Tensor::VT_LAYOUT, 7), {"layout 7 (unknown)", "layout 2 (panels16)"});
  expect_contains(tensor_refusal<uint8_t>(key_weight, Tensor::VT_LAYOUT, 3), {"layout 3 (bit planes 16)", "layout 2 (panels16)"});
  expect_contains(tensor_refusal<uint8_t>(key_weight, Tensor::VT_DTYPE, 200),
                  {"data type 200 (unknown)", "float32 or float16 or bfloat16 or int8"});
  expect_contains(tensor_refusal<uint8_t>(key_weight, Tensor::VT_DTYPE, 3),
                  {"layout 2 (panels16), this build knows layout 4 (panels16 by 2) or 1 (plain) for bfloat16"});
  const auto word = [](const Base& base) { return base.word_embeddings(); };
  expect_contains(tensor_refusal<uint8_t>(word, Tensor::VT_DTYPE, 4),
                  {"embeddings.word.weight", "int8", "float32 or float16 or bfloat16 here"});
}

TEST(HostileBase, AShapeWhoseProductOverflowsIsRefused) {
  const auto bytes_of = [](const Base& base) { return base.tokenizer()->vocabulary_bytes(); };
  ChangedBundle bundle;
  const auto* shape = bytes_of(*bundle.roots().base)->shape();
  flatbuffers::WriteScalar(const_cast<uint8_t*>(shape->Data()), UINT64_MAX);
  expect_contains(bundle.refusal(), {"tokenizer.vocabulary_bytes"});
}

TEST(HostileBase, TheFingerprintMustBeTheDirectorys) {
  ChangedBundle bundle;
  const auto* text = bundle.roots().base->fingerprint();
  const_cast<uint8_t*>(text->Data())[31] ^= 1;
  const auto file = bundle.open();
  ASSERT_FALSE(file);
  EXPECT_EQ(file.status().code(), ErrorCode::kMismatch);
}

TEST(HostileBase, AnArchitectureThatThisBuildDoesNotKnowIsRefused) {
  ChangedBundle bundle;
  const_cast<uint8_t*>(bundle.roots().base->architecture()->Data())[0] = 'v';
  expect_contains(bundle.refusal(), {"architecture \"vert\"", "knows \"bert\""});
}

TEST(HostileBase, AddedTokensMustBeUtf8) {
  expect_contains(refusal_of([](auto& base) { base.tokenizer.tables.added_tokens[0].content = "\xC0\xAF"; }), {"added token"});
}

TEST(HostileBase, AMissingTensorIsNamed) {
  ChangedBundle bundle;
  // A table's field is absent where its vtable has no offset for it.
  const auto* linear = reinterpret_cast<const flatbuffers::Table*>(bundle.roots().base->encoder()->Get(0)->up());
  auto* vtable = const_cast<uint8_t*>(linear->GetVTable());
  flatbuffers::WriteScalar<flatbuffers::voffset_t>(vtable + schema::Linear::VT_BIAS, 0);
  // Tables of one form share a vtable, so the norms lose their second field, too, and the first of them comes first.
  expect_contains(bundle.refusal(), {"tensor embeddings.norm.beta is missing"});
}

}  // namespace
}  // namespace pets::bundle_test
