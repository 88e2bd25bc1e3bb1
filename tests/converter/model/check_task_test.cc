// check_task: one thing wrong at a time in a task that is right.
#include "converter/model/check_task.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "tests/converter/golden_files.h"

namespace pets::converter::check_task_test {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> ones(size_t count) { return std::vector<float>(count, 1.0F); }
Matrix matrix(uint64_t rows, uint64_t columns) { return {rows, columns, ones(rows * columns)}; }
const BaseModel& base() { return base_model("tiny48"); }

PetTask good_task() {
  PetTask task;
  task.name = "task";
  task.max_length = 64;
  task.head.type = HeadType::kSequenceClassification;
  task.head.pooling = Pooling::kPooler;
  task.head.layers = {{matrix(2, 48), ones(2), Activation::kNone}};
  task.head.labels = {"no", "yes"};
  const Site up{SiteKind::kFfnUp, 2};
  task.operators.push_back({up, BiasOperator{ones(112)}});
  task.operators.push_back({up, LowRankOperator{matrix(3, 48), matrix(112, 3), 2.0}});
  task.operators.push_back({up, SparseOperator{{0, 0, 111}, {3, 47, 0}, ones(3)}});
  task.operators.push_back({up, MaskOperator{112, 48, std::vector<uint8_t>(112 * 6, 0xFF)}});
  task.operators.push_back({up, ScaleOperator{ones(48), ones(112)}});
  task.operators.push_back({{SiteKind::kEmbeddingsNorm, 0}, NormOperator{ones(48), {}}});
  task.operators.push_back({{SiteKind::kEmbeddingsWord, 0}, ReplacedRowsOperator{{0, 592}, matrix(2, 48)}});
  BottleneckOperator bottleneck;
  bottleneck.down = matrix(4, 48);
  bottleneck.down_bias = ones(4);
  bottleneck.up = matrix(48, 4);
  bottleneck.up_bias = ones(48);
  bottleneck.norm_after = NormOperator{ones(48), ones(48)};
  bottleneck.channel_scaling = ones(48);
  task.operators.push_back({{SiteKind::kFfn, 0}, bottleneck});
  return task;
}

template <typename Body>
Body& body(PetTask& task) {
  for (Operator& op : task.operators) {
    if (auto* found = std::get_if<Body>(&op.body)) return *found;
  }
  throw std::runtime_error("no such operator");
}

Status check_changed(const std::function<void(PetTask&)>& change) {
  PetTask task = good_task();
  change(task);
  return check_task(base(), task);
}

template <typename Body>
Status check_body(const std::function<void(Body&)>& change) {
  return check_changed([&](PetTask& task) { change(body<Body>(task)); });
}

TEST(CheckTask, AcceptsARightTask) {
  ASSERT_EQ(base().vocabulary, 593U);
  EXPECT_TRUE(is_ok(check_task(base(), good_task())));
}

TEST(CheckTask, NameAndLengthAreChecked) {
  EXPECT_TRUE(is_refused(check_changed([](PetTask& task) { task.name = ""; }), "name"));
  EXPECT_TRUE(is_refused(check_changed([](PetTask& task) { task.name = "a\nb"; }), "name"));
  EXPECT_TRUE(is_refused(check_changed([](PetTask& task) { task.max_length = 0; }), "`task`", "max_length", "3 to 96", "found 0"));
  EXPECT_TRUE(is_refused(check_changed([](PetTask& task) { task.max_length = 97; }), "max_length", "found 97"));
}

TEST(CheckTask, SitesAreChecked) {
  EXPECT_TRUE(
      is_refused(check_changed([](PetTask& task) { task.operators.push_back(task.operators[0]); }), "layer.2.ffn.up", "two operators"));
  EXPECT_TRUE(is_refused(check_changed([](PetTask& task) { task.operators[0].site.layer = 3; }), "layer.3.ffn.up", "below 3"));
  EXPECT_TRUE(is_refused(check_changed([](PetTask& task) {
                           task.operators[0].site = {SiteKind::kFfnNorm, 0};
                         }),
                         "layer.0.ffn.norm", "bias"));
  EXPECT_TRUE(is_refused(check_changed([](PetTask& task) { task.operators[0].site = {SiteKind::kPooler, 0}; }), "pooler", "bias"));
  EXPECT_TRUE(is_refused(check_changed([](PetTask& task) { task.operators[0].site = {}; }), "unknown site"));
  for (size_t i = 1; i < good_task().operators.size(); ++i) {
    EXPECT_TRUE(is_refused(check_changed([&](PetTask& task) { task.operators[i].site = {SiteKind::kHead, 0}; }), "head", "acts on")) << i;
  }
}

TEST(CheckTask, ShapesAreChecked) {
  EXPECT_TRUE(is_refused(check_body<BiasOperator>([](auto& bias) { bias.value.pop_back(); }), "bias", "112", "111"));
  EXPECT_TRUE(is_refused(check_body<LowRankOperator>([](auto& op) { op.a = matrix(3, 47); }), "low_rank a", "[3, 48]", "[3, 47]"));
  EXPECT_TRUE(is_refused(check_body<LowRankOperator>([](auto& op) { op.b = matrix(112, 2); }), "low_rank b", "[112, 3]", "[112, 2]"));
  EXPECT_TRUE(is_refused(check_body<LowRankOperator>([](auto& op) { op.a.values.pop_back(); }), "low_rank a", "144", "143"));
  EXPECT_TRUE(is_refused(check_body<LowRankOperator>([](auto& op) { op.a = matrix(0, 48); }), "low_rank", "rank"));
  EXPECT_TRUE(is_refused(check_body<NormOperator>([](auto& op) { op.gamma.clear(); }), "norm", "neither"));
  EXPECT_TRUE(is_refused(check_body<NormOperator>([](auto& op) { op.beta = ones(47); }), "norm beta", "48", "47"));
  EXPECT_TRUE(is_refused(check_body<ScaleOperator>([](auto& op) { op = {}; }), "scale", "neither"));
  EXPECT_TRUE(is_refused(check_body<ScaleOperator>([](auto& op) { op.input = ones(112); }), "scale input", "48", "112"));
  EXPECT_TRUE(is_refused(check_body<MaskOperator>([](auto& op) { op.in = 47; }), "mask", "[112, 48]", "[112, 47]"));
  EXPECT_TRUE(is_refused(check_body<MaskOperator>([](auto& op) { op.bits.pop_back(); }), "mask", "672", "671"));
  EXPECT_TRUE(is_refused(check_body<ReplacedRowsOperator>([](auto& op) { op.values = matrix(2, 47); }), "sparse values", "[2, 48]"));
  EXPECT_TRUE(is_refused(check_body<BottleneckOperator>([](auto& op) { op.down = matrix(0, 48); }), "bottleneck", "width"));
  EXPECT_TRUE(is_refused(check_body<BottleneckOperator>([](auto& op) { op.down = matrix(4, 47); }), "bottleneck down", "[4, 48]"));
  EXPECT_TRUE(is_refused(check_body<BottleneckOperator>([](auto& op) { op.down_bias.clear(); }), "bottleneck down bias", "4", "0"));
  EXPECT_TRUE(is_refused(check_body<BottleneckOperator>([](auto& op) { op.up = matrix(48, 5); }), "bottleneck up", "[48, 4]"));
  EXPECT_TRUE(is_refused(check_body<BottleneckOperator>([](auto& op) { op.up_bias.clear(); }), "bottleneck up bias"));
  EXPECT_TRUE(is_refused(check_body<BottleneckOperator>([](auto& op) { op.norm_after->beta.clear(); }), "ln_after beta"));
  EXPECT_TRUE(is_refused(check_body<BottleneckOperator>([](auto& op) { op.norm_before.emplace(); }), "ln_before gamma"));
  EXPECT_TRUE(is_refused(check_body<BottleneckOperator>([](auto& op) { op.channel_scaling = ones(1); }), "bottleneck scaling"));
}

TEST(CheckTask, IndicesAreChecked) {
  EXPECT_TRUE(is_refused(check_body<SparseOperator>([](auto& op) { op.in[2] = 48; }), "[111, 48]", "outside of [112, 48]"));
  EXPECT_TRUE(is_refused(check_body<SparseOperator>([](auto& op) { op.out[2] = 112; }), "[112, 0]", "outside"));
  EXPECT_TRUE(is_refused(check_body<SparseOperator>([](auto& op) { op.in[1] = 3; }), "[0, 3]", "twice"));
  EXPECT_TRUE(is_refused(check_body<SparseOperator>([](auto& op) { op.in.pop_back(); }), "sparse in", "3", "2"));
  EXPECT_TRUE(is_refused(check_body<SparseOperator>([](auto& op) { op.values.pop_back(); }), "sparse values", "3", "2"));
  EXPECT_TRUE(is_refused(check_body<ReplacedRowsOperator>([](auto& op) { op.rows[1] = 593; }), "row 593", "593"));
  EXPECT_TRUE(is_refused(check_body<ReplacedRowsOperator>([](auto& op) { op.rows[1] = 0; }), "row 0", "twice"));
}

TEST(CheckTask, ValuesHaveToBeFinite) {
  EXPECT_TRUE(
      is_refused(check_body<BiasOperator>([](auto& op) { op.value[5] = kNan; }), "`task`", "layer.2.ffn.up", "bias", "value 5", "NaN"));
  EXPECT_TRUE(is_refused(check_body<LowRankOperator>([](auto& op) { op.a.values[0] = -HUGE_VALF; }), "low_rank a", "infinite"));
  EXPECT_TRUE(is_refused(check_body<LowRankOperator>([](auto& op) { op.scale = 1e300; }), "low_rank", "scale"));
  EXPECT_TRUE(is_refused(check_body<LowRankOperator>([](auto& op) { op.scale = std::numeric_limits<double>::quiet_NaN(); }), "scale"));
  EXPECT_TRUE(is_refused(check_body<SparseOperator>([](auto& op) { op.values[1] = kNan; }), "sparse values"));
  EXPECT_TRUE(is_refused(check_body<ScaleOperator>([](auto& op) { op.output[1] = kNan; }), "scale output"));
  EXPECT_TRUE(is_refused(check_body<NormOperator>([](auto& op) { op.gamma[1] = kNan; }), "norm gamma"));
  EXPECT_TRUE(is_refused(check_body<ReplacedRowsOperator>([](auto& op) { op.values.values[1] = kNan; }), "sparse values"));
  EXPECT_TRUE(is_refused(check_body<BottleneckOperator>([](auto& op) { op.up.values[1] = kNan; }), "bottleneck up"));
  EXPECT_TRUE(is_refused(check_body<BottleneckOperator>([](auto& op) { op.scaling = kNan; }), "bottleneck", "scaling"));
  EXPECT_TRUE(
      is_refused(check_changed([](PetTask& task) { task.head.layers[0].weight.values[3] = kNan; }), "head", "layer 0 weight", "NaN"));
}

TEST(CheckTask, HeadsAreChecked) {
  const auto head = [](const std::function<void(HeadSpec&)>& change) { return check_changed([&](PetTask& task) { change(task.head); }); };
  EXPECT_TRUE(is_refused(head([](HeadSpec& h) { h = {}; }), "head", "none"));
  EXPECT_TRUE(is_refused(head([](HeadSpec& h) { h.pooling = Pooling::kUnknown; }), "head", "pooling"));
  EXPECT_TRUE(is_refused(head([](HeadSpec& h) { h.pooling = Pooling::kTokens; }), "pooling", "tokens"));
  EXPECT_TRUE(is_refused(head([](HeadSpec& h) { h.type = HeadType::kTokenClassification; }), "expected pooling tokens", "pooler"));
  EXPECT_TRUE(is_refused(head([](HeadSpec& h) { h.normalize = true; }), "normalize"));
  EXPECT_TRUE(is_refused(head([](HeadSpec& h) { h.layers.clear(); }), "1 output or more, found 0"));
  EXPECT_TRUE(is_refused(head([](HeadSpec& h) {
                           h.layers.push_back({matrix(2, 3), ones(2), Activation::kNone});
                         }),
                         "layer 1 weight", "[2, 2]"));
  EXPECT_TRUE(is_refused(head([](HeadSpec& h) { h.layers[0].bias.clear(); }), "layer 0 bias", "2", "0"));
  EXPECT_TRUE(is_refused(head([](HeadSpec& h) { h.layers[0].weight = matrix(0, 48); }), "layer 0 has no outputs"));
  EXPECT_TRUE(is_refused(head([](HeadSpec& h) { h.labels.pop_back(); }), "expected 2 labels, found 1"));
  EXPECT_TRUE(is_refused(head([](HeadSpec& h) { h.labels[1] = "no"; }), "two labels", "`no`"));
  EXPECT_TRUE(is_refused(head([](HeadSpec& h) { h.labels[1] = "\xFF"; }), "UTF-8"));
  EXPECT_TRUE(is_refused(head([](HeadSpec& h) { h.type = HeadType::kRegression; }), "regression", "1 output, found 2"));
  EXPECT_TRUE(is_refused(head([](HeadSpec& h) {
                           h.type = HeadType::kQuestionAnswering;
                           h.pooling = Pooling::kTokens;
                         }),
                         "question-answering", "0 labels, found 2"));
  EXPECT_TRUE(is_ok(head([](HeadSpec& h) {
    h = {};
    h.type = HeadType::kEmbedding;
    h.pooling = Pooling::kMean;
    h.normalize = true;
  })));
  PetTask task = good_task();
  task.operators.clear();
  task.max_length = 10;
  BaseModel without_pooler = base();
  without_pooler.pooler.reset();
  EXPECT_TRUE(is_refused(check_task(without_pooler, task), "head", "pooler"));
}

}  // namespace
}  // namespace pets::converter::check_task_test
