// What is packed is what is read, in the layouts that the format promises.
#include <gtest/gtest.h>

#include "tests/bundle/fixture.h"

#include "converter/bundle/bundle_base.h"
#include "converter/model/fingerprint.h"
#include "kernels/gemm/panel_layout.h"

namespace pets::bundle_test {
namespace {

using namespace converter;
using bundle::tensor_as;

std::vector<float> unpacked(const schema::Tensor& tensor, std::span<const std::byte> segment) {
  std::vector<float> values(tensor.shape()->Get(0) * tensor.shape()->Get(1));
  kernels::unpack_panels16(tensor_as<float>(&tensor, segment), tensor.shape()->Get(0), tensor.shape()->Get(1), values.data());
  return values;
}

std::vector<float> vector_of(const schema::Tensor& tensor, std::span<const std::byte> segment) {
  const auto* values = tensor_as<float>(&tensor, segment);
  return {values, values + tensor.shape()->Get(0)};
}

/// The operator of a kind that "everything" has first, as packed and as given.
template <typename Body>
const Body& given(const PetTask& task) {
  for (const Operator& op : task.operators) {
    if (const auto* body = std::get_if<Body>(&op.body)) return *body;
  }
  throw std::logic_error("no such operator");
}
const schema::Operator& packed(const schema::Task& task, schema::OperatorBody kind) {
  for (const schema::Operator* op : *task.operators()) {
    if (op->body_type() == kind) return *op;
  }
  throw std::logic_error("no such operator");
}

class RoundTrip : public testing::Test {
 protected:
  RoundTrip() : bytes_(bundle_bytes(small_base(), small_tasks())) {
    auto file = parse(bytes_.bytes());
    EXPECT_TRUE(file) << file.status().c_str();
    file_ = *file;
  }
  const schema::Task& task() const { return *file_->tasks()[0].task; }
  std::span<const std::byte> segment() const { return file_->tasks()[0].bytes; }

  AlignedBytes bytes_;
  FilePointer file_;
};

TEST_F(RoundTrip, TheBaseComesBackBitForBit) {
  const BaseModel back = base_of_bundle(*file_);
  const BaseModel& base = small_base();
  EXPECT_EQ(back.word_embeddings.values, base.word_embeddings.values);
  EXPECT_EQ(back.position_embeddings.values, base.position_embeddings.values);
  EXPECT_EQ(back.token_type_embeddings.values, base.token_type_embeddings.values);
  ASSERT_EQ(back.encoder.size(), base.encoder.size());
  for (size_t i = 0; i < base.encoder.size(); ++i) {
    EXPECT_EQ(back.encoder[i].query.weight.values, base.encoder[i].query.weight.values);
    EXPECT_EQ(back.encoder[i].key.bias, base.encoder[i].key.bias);
    EXPECT_EQ(back.encoder[i].up.weight.values, base.encoder[i].up.weight.values);
    EXPECT_EQ(back.encoder[i].down.weight.values, base.encoder[i].down.weight.values);
    EXPECT_EQ(back.encoder[i].ffn_norm.gamma, base.encoder[i].ffn_norm.gamma);
  }
  EXPECT_EQ(back.pooler->weight.values, base.pooler->weight.values);
  EXPECT_EQ(back.tokenizer.tables.vocabulary, base.tokenizer.tables.vocabulary);
  EXPECT_EQ(back.tokenizer.tables.added_tokens.size(), base.tokenizer.tables.added_tokens.size());
  EXPECT_EQ(back.norm_epsilon, base.norm_epsilon);
  EXPECT_EQ(file_->dimensions().intermediate, 40U);
  EXPECT_TRUE(file_->dimensions().has_pooler);
  BaseModel named = base;  // random_base makes its fingerprint up
  named.tokenizer.fingerprint_text = back.tokenizer.fingerprint_text;
  EXPECT_EQ(base_fingerprint(back), base_fingerprint(named));
}

TEST_F(RoundTrip, LowRankHasItsScaleFoldedIntoBRoundedOnce) {
  const auto& source = given<LowRankOperator>(small_tasks()[0]);
  const auto& low_rank = *packed(task(), schema::OperatorBody::LowRank).body_as_LowRank();
  EXPECT_EQ(unpacked(*low_rank.a(), segment()), source.a.values);
  const std::vector<float> b = unpacked(*low_rank.b(), segment());
  ASSERT_EQ(b.size(), source.b.values.size());
  for (size_t i = 0; i < b.size(); ++i) EXPECT_EQ(b[i], static_cast<float>(static_cast<double>(source.b.values[i]) * source.scale));
}

TEST_F(RoundTrip, SparseIsStoredByOutput) {
  const auto& source = given<SparseOperator>(small_tasks()[0]);
  const auto& sparse = *packed(task(), schema::OperatorBody::Sparse).body_as_Sparse();
  const auto* start = tensor_as<uint32_t>(sparse.column_start(), segment());
  const auto* rows = tensor_as<uint16_t>(sparse.rows(), segment());
  EXPECT_EQ(vector_of(*sparse.values(), segment()), source.values);
  size_t i = 0;
  for (uint32_t out = 0; out < 24; ++out) {
    for (uint32_t j = start[out]; j < start[out + 1]; ++j, ++i) {
      EXPECT_EQ(out, source.out[i]);
      EXPECT_EQ(rows[j], source.in[i]);
    }
  }
  EXPECT_EQ(i, source.values.size());
}

TEST_F(RoundTrip, MaskBitsLieInPlanesOf32InputsForEachOutput) {
  const auto& source = given<MaskOperator>(small_tasks()[0]);
  const auto& mask = *packed(task(), schema::OperatorBody::Mask).body_as_Mask()->bits();
  const auto* planes = tensor_as<uint32_t>(&mask, segment());
  const uint64_t words = (source.in + 31) / 32;
  for (uint64_t out = 0; out < source.out; ++out) {
    for (uint64_t in = 0; in < source.in; ++in) {
      const bool kept = (source.bits[out * ((source.in + 7) / 8) + in / 8] >> (in % 8) & 1) != 0;
      const uint32_t word = planes[(out / 16 * words + in / 32) * 16 + out % 16];
      EXPECT_EQ((word >> (31 - in % 32) & 1) != 0, kept) << out << " " << in;
    }
  }
}

TEST_F(RoundTrip, ReplacedRowsScalesAndNormsComeBack) {
  const auto& rows = given<ReplacedRowsOperator>(small_tasks()[0]);
  const auto& replaced = *packed(task(), schema::OperatorBody::ReplacedRows).body_as_ReplacedRows();
  const auto* numbers = tensor_as<uint32_t>(replaced.rows(), segment());
  EXPECT_EQ(std::vector<uint32_t>(numbers, numbers + rows.rows.size()), rows.rows);
  const auto* values = tensor_as<float>(replaced.values(), segment());
  EXPECT_EQ(std::vector<float>(values, values + rows.values.values.size()), rows.values.values);
  const auto& scale = *packed(task(), schema::OperatorBody::Scale).body_as_Scale();
  EXPECT_EQ(vector_of(*scale.output(), segment()), given<ScaleOperator>(small_tasks()[0]).output);
}

TEST_F(RoundTrip, BottlenecksComeBackWithEveryOption) {
  const auto& source = given<BottleneckOperator>(small_tasks()[0]);
  const auto& bottleneck = *packed(task(), schema::OperatorBody::Bottleneck).body_as_Bottleneck();
  EXPECT_EQ(unpacked(*bottleneck.down()->weight(), segment()), source.down.values);
  EXPECT_EQ(unpacked(*bottleneck.up()->weight(), segment()), source.up.values);
  EXPECT_EQ(vector_of(*bottleneck.up()->bias(), segment()), source.up_bias);
  EXPECT_EQ(vector_of(*bottleneck.norm_before()->gamma(), segment()), source.norm_before->gamma);
  EXPECT_EQ(vector_of(*bottleneck.norm_after()->beta(), segment()), source.norm_after->beta);
  EXPECT_EQ(vector_of(*bottleneck.channel_scaling(), segment()), source.channel_scaling);
  EXPECT_EQ(bottleneck.activation(), source.activation);
  EXPECT_EQ(bottleneck.parallel(), source.parallel);
  EXPECT_EQ(bottleneck.original_norm_before(), source.original_norm_before);
  EXPECT_EQ(bottleneck.original_norm_after(), source.original_norm_after);
  EXPECT_EQ(bottleneck.residual_before_norm(), source.residual_before_norm);
}

TEST_F(RoundTrip, HeadsComeBackAndMissingLabelsAreNumbered) {
  const schema::Head& head = *task().head();
  EXPECT_EQ(head.type(), converter::HeadType::kSequenceClassification);
  EXPECT_EQ(unpacked(*head.layers()->Get(0)->linear()->weight(), segment()), small_tasks()[0].head.layers[0].weight.values);
  PetTask unnamed = small_tasks()[0];
  unnamed.head.labels.clear();
  AlignedBytes bytes(bundle_bytes(small_base(), {unnamed}));
  const auto file = parse(bytes.bytes());
  ASSERT_TRUE(file);
  const auto& labels = *(*file)->tasks()[0].task->head()->labels();
  ASSERT_EQ(labels.size(), 3U);
  EXPECT_EQ(labels.Get(2)->str(), "LABEL_2");
}

TEST_F(RoundTrip, GoldensComeBack) {
  Golden text, ids;
  text.text = "what";
  text.text_pair = "";
  text.has_text_pair = true;
  text.logits = {1, 2, 3};
  ids.ids = {2, 5, 3};
  ids.logits = {4, 5, 6};
  const auto segment = make_task_segment(small_base(), small_tasks()[0], {text, ids});
  ASSERT_TRUE(segment);
  const auto& goldens = *flatbuffers::GetRoot<schema::Task>(segment->bytes.data())->goldens();
  ASSERT_EQ(goldens.size(), 2U);
  EXPECT_EQ(goldens.Get(0)->text()->str(), "what");
  EXPECT_NE(goldens.Get(0)->text_pair(), nullptr);
  EXPECT_EQ(goldens.Get(0)->logits()->Get(2), 3);
  EXPECT_EQ(goldens.Get(1)->text(), nullptr);
  EXPECT_EQ(goldens.Get(1)->ids()->Get(1), 5);
}

TEST_F(RoundTrip, IdenticalInputGivesIdenticalBytes) {
  EXPECT_EQ(bundle_bytes(small_base(), small_tasks()), bundle_bytes(small_base(), small_tasks()));
}

TEST_F(RoundTrip, AScaleThatOverflowsIsRefusedBySite) {
  PetTask task = small_tasks()[1];
  std::get<LowRankOperator>(task.operators[0].body).scale = 1e300;
  const auto segment = make_task_segment(small_base(), task, {});
  ASSERT_FALSE(segment);
  expect_contains(segment.status().c_str(), {"layer.0.attention.query", "low_rank"});
}

TEST_F(RoundTrip, EveryTensorAndSegmentIsAligned) {
  for (const auto& task : file_->tasks()) EXPECT_EQ((task.bytes.data() - file_->bytes().data()) % 4096, 0);
  EXPECT_EQ((file_->base().bytes.data() - file_->bytes().data()) % 4096, 0);
  EXPECT_EQ(file_->base().base->encoder()->Get(1)->value()->weight()->offset() % 64, 0U);
}

TEST_F(RoundTrip, ABundleWithoutTasksOpens) {
  AlignedBytes bytes(bundle_bytes(small_base(), {}));
  const auto file = parse(bytes.bytes());
  ASSERT_TRUE(file) << file.status().c_str();
  EXPECT_TRUE((*file)->tasks().empty());
  EXPECT_EQ((*file)->base_fingerprint(), small_base().fingerprint);
}

}  // namespace
}  // namespace pets::bundle_test
