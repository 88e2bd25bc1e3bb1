// Tasks that do not make sense, with checksums that hold: quarantined by name, and never in the way of the other task.
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "tests/bundle/fixture.h"

namespace pets::bundle_test {
namespace {

using namespace converter;
using testing_util::PetKind;

constexpr Site kQuery{SiteKind::kAttentionQuery, 0};
constexpr Site kDown{SiteKind::kFfnDown, 1};

PetTask plain_task() { return testing_util::random_task(small_base(), PetKind::kNone, HeadType::kSequenceClassification, "changed", 5); }

/// Packs a changed task beside a good one. The writer trusts its caller, so it writes what the reader must find.
std::string quarantine_of(const std::function<void(PetTask&)>& change) {
  PetTask task = plain_task();
  change(task);
  return ChangedBundle(bundle_bytes(small_base(), {task, small_tasks()[1]})).quarantine(0);
}

std::string quarantine_of_operator(Site site, decltype(Operator::body) body) {
  return quarantine_of([&](PetTask& task) { task.operators.push_back({site, std::move(body)}); });
}

Matrix zeros(uint64_t rows, uint64_t columns) { return {rows, columns, std::vector<float>(rows * columns)}; }

BottleneckOperator bottleneck() {
  BottleneckOperator op;
  op.down = zeros(4, 24);
  op.down_bias.resize(4);
  op.up = zeros(24, 4);
  op.up_bias.resize(24);
  return op;
}

TEST(HostileTask, TheUnchangedTaskIsAccepted) {
  EXPECT_EQ(quarantine_of([](PetTask&) {}), "");
}

TEST(HostileTask, ShapesThatDoNotFitNameTaskSiteExpectedAndFound) {
  expect_contains(quarantine_of_operator(kQuery, BiasOperator{std::vector<float>(25)}),
                  {"small.pets: task \"changed\"", "layer.0.attention.query:bias.value", "expected shape [24]", "found [25]"});
  expect_contains(quarantine_of_operator(kDown, LowRankOperator{zeros(4, 24), zeros(24, 4), 1}),
                  {"layer.1.ffn.down:low_rank.a", "expected shape [any, 40]", "found [4, 24]"});
  expect_contains(quarantine_of_operator(kQuery, LowRankOperator{zeros(4, 24), zeros(24, 5), 1}),
                  {"low_rank.b", "expected shape [24, 4]", "found [24, 5]"});
  expect_contains(quarantine_of_operator(kQuery, MaskOperator{24, 40, std::vector<uint8_t>(24 * 5)}),
                  {"mask.bits", "[24, 24]", "[24, 40]"});
  expect_contains(quarantine_of_operator(kDown, ScaleOperator{std::vector<float>(24), {}}), {"scale.input", "[40]", "[24]"});
  expect_contains(quarantine_of_operator({SiteKind::kFfnNorm, 0}, NormOperator{{}, std::vector<float>(40)}), {"norm.beta", "[24]", "[40]"});
  expect_contains(quarantine_of_operator({SiteKind::kEmbeddingsWord, 0}, ReplacedRowsOperator{{3}, zeros(1, 25)}), {"[1, 24]", "[1, 25]"});
}

TEST(HostileTask, EmptyOperatorsAreRefused) {
  expect_contains(quarantine_of_operator(kQuery, LowRankOperator{zeros(0, 24), zeros(24, 0), 1}), {"low_rank operator is empty"});
  expect_contains(quarantine_of_operator({SiteKind::kFfnNorm, 0}, NormOperator{}), {"norm operator is empty"});
  expect_contains(quarantine_of_operator(kQuery, ScaleOperator{}), {"scale operator is empty"});
  BottleneckOperator narrow = bottleneck();
  narrow.down = zeros(0, 24);
  narrow.down_bias.clear();
  narrow.up = zeros(24, 0);
  expect_contains(quarantine_of_operator({SiteKind::kFfn, 0}, narrow), {"bottleneck operator is empty"});
}

TEST(HostileTask, TwoOperatorsOfAKindAtASiteAreRefused) {
  expect_contains(quarantine_of([](PetTask& task) {
                    task.operators.push_back({kQuery, BiasOperator{std::vector<float>(24)}});
                    task.operators.push_back({kDown, BiasOperator{std::vector<float>(24)}});
                    task.operators.push_back({kQuery, BiasOperator{std::vector<float>(24)}});
                  }),
                  {"two Bias operators", "layer.0.attention.query"});
}

TEST(HostileTask, OperatorsAtSitesThatTheyDoNotFitAreRefused) {
  const std::vector<float> vector(24);
  expect_contains(quarantine_of_operator({SiteKind::kFfnNorm, 0}, BiasOperator{vector}), {"Bias", "does not fit", "layer.0.ffn.norm"});
  expect_contains(quarantine_of_operator(kQuery, NormOperator{vector, vector}), {"TaskNorm", "does not fit"});
  expect_contains(quarantine_of_operator(kQuery, bottleneck()), {"Bottleneck", "does not fit"});
  expect_contains(quarantine_of_operator({SiteKind::kPooler, 0}, BiasOperator{vector}), {"Bias", "does not fit", "pooler"});
  expect_contains(quarantine_of_operator({SiteKind::kUnknown, 0}, BiasOperator{vector}), {"does not fit"});
  expect_contains(quarantine_of_operator(kQuery, ReplacedRowsOperator{{3}, zeros(1, 24)}), {"ReplacedRows", "does not fit"});
}

TEST(HostileTask, SitesBeyondTheBaseAreRefused) {
  expect_contains(quarantine_of_operator({SiteKind::kAttentionQuery, 2}, BiasOperator{std::vector<float>(24)}), {"layer 2 of 2"});
  expect_contains(quarantine_of_operator({SiteKind::kEmbeddingsNorm, 1}, NormOperator{std::vector<float>(24), {}}), {"layer 1"});
  expect_contains(quarantine_of_operator({static_cast<SiteKind>(77), 0}, BiasOperator{std::vector<float>(24)}),
                  {"site 77", "knows sites to 16"});
}

/// Changes the tensors of the sparse operator that "everything" has at its first site.
std::string sparse_quarantine(const std::function<void(uint32_t* start, uint16_t* rows, uint64_t count)>& change) {
  ChangedBundle bundle;
  std::byte* segment = bundle.bytes().data() + bundle.directory().tasks()->Get(0)->offset();
  for (const schema::Operator* op : *bundle.roots().tasks[0]->operators()) {
    const auto* sparse = op->body_as_Sparse();
    if (sparse == nullptr) continue;
    change(reinterpret_cast<uint32_t*>(segment + sparse->column_start()->offset()),
           reinterpret_cast<uint16_t*>(segment + sparse->rows()->offset()), sparse->rows()->shape()->Get(0));
    break;
  }
  return bundle.quarantine(0);
}

TEST(HostileTask, SparseColumnsThatLieAreRefused) {
  const auto complains = [](const std::string& text) { expect_contains(text, {"layer.0.attention.query", "columns are out of range"}); };
  EXPECT_EQ(sparse_quarantine([](uint32_t*, uint16_t*, uint64_t) {}), "");
  complains(sparse_quarantine([](uint32_t* start, uint16_t*, uint64_t) { start[0] = 1; }));
  complains(sparse_quarantine([](uint32_t* start, uint16_t*, uint64_t) { start[24] += 1; }));
  complains(sparse_quarantine([](uint32_t* start, uint16_t*, uint64_t) { start[24] = UINT32_MAX; }));
  complains(sparse_quarantine([](uint32_t* start, uint16_t*, uint64_t) { start[12] = UINT32_MAX; }));
  complains(sparse_quarantine([](uint32_t*, uint16_t* rows, uint64_t count) { rows[count - 1] = 24; }));
  complains(sparse_quarantine([](uint32_t*, uint16_t* rows, uint64_t count) { rows[count - 1] = 0xFFFF; }));
}

TEST(HostileTask, SparseRowsMustRiseWithinTheirColumn) {
  SparseOperator op{{3, 3, 4}, {5, 6, 0}, {1, 2, 3}};
  EXPECT_EQ(quarantine_of_operator(kQuery, op), "");
  op.in = {6, 6, 0};
  expect_contains(quarantine_of_operator(kQuery, op), {"not ascending"});
  op.in = {7, 6, 8};
  expect_contains(quarantine_of_operator(kQuery, op), {"not ascending"});
}

TEST(HostileTask, ReplacedRowsMustRiseAndExist) {
  const Site site{SiteKind::kEmbeddingsTokenType, 0};
  EXPECT_EQ(quarantine_of_operator(site, ReplacedRowsOperator{{0, 1}, zeros(2, 24)}), "");
  expect_contains(quarantine_of_operator(site, ReplacedRowsOperator{{0, 2}, zeros(2, 24)}), {"embeddings.token_type", "out of range"});
  expect_contains(quarantine_of_operator(site, ReplacedRowsOperator{{1, 0}, zeros(2, 24)}), {"not ascending"});
  expect_contains(quarantine_of_operator(site, ReplacedRowsOperator{{1, 1}, zeros(2, 24)}), {"not ascending"});
}

TEST(HostileTask, BottlenecksWithUnknownOptionsAreRefused) {
  BottleneckOperator activation = bottleneck(), residual = bottleneck(), scaling = bottleneck(), up = bottleneck();
  activation.activation = static_cast<Activation>(50);
  expect_contains(quarantine_of_operator({SiteKind::kFfn, 0}, activation), {"layer.0.ffn", "activation 50"});
  residual.residual_before_norm = static_cast<schema::ResidualBeforeNorm>(9);
  expect_contains(quarantine_of_operator({SiteKind::kFfn, 0}, residual), {"residual 9"});
  scaling.scaling = std::numeric_limits<float>::infinity();
  expect_contains(quarantine_of_operator({SiteKind::kFfn, 0}, scaling), {"scaling is not finite"});
  up.up = zeros(24, 5);
  expect_contains(quarantine_of_operator({SiteKind::kFfn, 0}, up), {"bottleneck.up.weight", "[24, 4]", "[24, 5]"});
}

TEST(HostileTask, HeadsThatDoNotFitAreRefused) {
  const auto head = [](const std::function<void(HeadSpec&)>& change) { return quarantine_of([&](PetTask& task) { change(task.head); }); };
  expect_contains(head([](HeadSpec& h) { h.pooling = Pooling::kTokens; }), {"head", "kTokens", "kSequenceClassification"});
  expect_contains(head([](HeadSpec& h) { h.type = HeadType::kTokenClassification; }), {"head", "does not fit"});
  expect_contains(head([](HeadSpec& h) { h.type = HeadType::kUnknown; }), {"head: type 0"});
  expect_contains(head([](HeadSpec& h) { h.type = static_cast<HeadType>(44); }), {"head: type 44", "knows types 1 to 6"});
  expect_contains(head([](HeadSpec& h) { h.pooling = static_cast<Pooling>(44); }), {"pooling 44"});
  expect_contains(head([](HeadSpec& h) { h.labels.pop_back(); }), {"2 labels for 3 outputs"});
  expect_contains(head([](HeadSpec& h) { h.labels[1] = "\xED\xA0\x80"; }), {"label 1 is not valid UTF-8"});
  expect_contains(head([](HeadSpec& h) { h.type = HeadType::kEmbedding; }), {"labels"});
  expect_contains(head([](HeadSpec& h) { h.layers[0].activation = static_cast<Activation>(12); }), {"activation 12"});
  expect_contains(head([](HeadSpec& h) {
                    h.layers.insert(h.layers.begin(), {zeros(7, 24), std::vector<float>(7), Activation::kTanh});
                  }),
                  {"head:1.weight", "expected shape [any, 7]", "found [3, 24]"});
  expect_contains(head([](HeadSpec& h) {
                    h.type = HeadType::kRegression;
                    h.labels.clear();
                    h.layers.clear();
                  }),
                  {"needs a dense layer"});
  expect_contains(head([](HeadSpec& h) {
                    h.type = HeadType::kQuestionAnswering;
                    h.pooling = Pooling::kTokens;
                  }),
                  {"question answering needs 2 outputs, found 3"});
}

TEST(HostileTask, AHeadThatReadsAPoolerNeedsABaseThatHasOne) {
  BaseModel base = small_base();
  base.pooler.reset();
  ChangedBundle bundle(bundle_bytes(base, {plain_task()}));
  expect_contains(bundle.quarantine(), {"task \"changed\"", "pooler", "this base has none"});
}

TEST(HostileTask, MaxLengthMustLieWithinThePositions) {
  expect_contains(quarantine_of([](PetTask& task) { task.max_length = 0; }), {"max_length is 0"});
  expect_contains(quarantine_of([](PetTask& task) { task.max_length = 21; }), {"max_length is 21", "20 positions"});
}

TEST(HostileTask, TensorsOfOneTaskMustNotOverlap) {
  ChangedBundle bundle;
  const auto& operators = *bundle.roots().tasks[1]->operators();
  const auto* first = operators.Get(0)->body_as_LowRank();
  const auto* last = operators.Get(operators.size() - 1)->body_as_LowRank();
  set_field<uint64_t>(last->a(), schema::Tensor::VT_OFFSET, first->a()->offset());
  expect_contains(bundle.quarantine(1), {"task \"lora\"", "overlap"});
}

TEST(HostileTask, ATaskOfAnotherBaseIsAMismatchThatNamesBoth) {
  ChangedBundle bundle;
  const auto* fingerprint = bundle.roots().tasks[0]->base_fingerprint();
  const_cast<uint8_t*>(fingerprint->Data())[0] = 'f';
  const auto file = bundle.open();
  ASSERT_TRUE(file);
  const Status& status = (*file)->tasks()[0].status;
  EXPECT_EQ(status.code(), ErrorCode::kMismatch);
  expect_contains(status.c_str(), {"belongs to base f0000000", "base is 00000000"});
}

TEST(HostileTask, AnUnknownOperatorIsRefusedWithBothNumbers) {
  ChangedBundle bundle;
  set_field<uint8_t>(bundle.roots().tasks[1]->operators()->Get(0), schema::Operator::VT_BODY_TYPE, 200);
  expect_contains(bundle.quarantine(1), {"kind 200", "kinds to 8"});
}

}  // namespace
}  // namespace pets::bundle_test
