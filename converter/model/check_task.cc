#include "converter/model/check_task.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>

#include "converter/files/message_text.h"
#include "converter/model/head_request.h"
#include "converter/model/names.h"
#include "runtime/bundle/text.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

/// Bundles store a sparse operator's inputs in 16 bits.
constexpr uint64_t kMaxSparseInputs = 1U << 16U;

/// Dimensions of the linear at a site.
struct LinearShape {
  uint64_t out = 0, in = 0;
};

/// Checks the parts of one task. `place_` is the site, or "head".
class TaskChecker {
 public:
  TaskChecker(const BaseModel& base, const PetTask& task) : base_(base), task_(task) {}

  Status check() {
    if (!bundle::is_valid_task_name(task_.name)) {
      return refuse("the name has to be UTF-8 of 1 to 256 bytes without control characters");
    }
    if (task_.max_length < 3 || task_.max_length > base_.positions) {
      return refuse("max_length: expected 3 to " + std::to_string(base_.positions) + " (the base's positions), found " +
                    std::to_string(task_.max_length));
    }
    std::set<std::pair<std::string, size_t>> seen;
    for (const Operator& op : task_.operators) {
      place_ = schema::site_name(op.site);
      if (schema::is_layer_site(op.site.kind) && op.site.layer >= base_.layers) {
        return refuse("expected a layer below " + std::to_string(base_.layers) + ", as the base has them");
      }
      if (!seen.insert({place_, op.body.index()}).second) return refuse("two operators of one kind at one site");
      PETS_RETURN_IF_ERROR(std::visit([&](const auto& body) { return check_operator(op.site, body); }, op.body));
    }
    place_ = "head";
    return check_head();
  }

 private:
  Status refuse(const std::string& message) const {
    return Status::error(ErrorCode::kInvalidArgument, "task %s%s%s: %s", in_quotes(task_.name).c_str(), place_.empty() ? "" : ", ",
                         place_.c_str(), message.c_str());
  }

  Status expect_kind(bool allowed, const char* operator_name, const char* where) const {
    if (allowed) return {};
    return refuse(std::string("a ") + operator_name + " operator acts on " + where);
  }

  Status expect_size(const std::string& what, uint64_t expected, uint64_t found) const {
    if (expected == found) return {};
    return refuse(what + ": expected " + std::to_string(expected) + " values, found " + std::to_string(found));
  }

  Status check_finite(const std::string& what, const std::vector<float>& values) const {
    const auto bad = std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
    if (bad == values.end()) return {};
    return refuse(what + ": value " + std::to_string(bad - values.begin()) + " is " + (std::isnan(*bad) ? "NaN" : "infinite") +
                  "; expected finite values");
  }

  Status check_vector(const std::string& what, const std::vector<float>& values, uint64_t size) const {
    PETS_RETURN_IF_ERROR(expect_size(what, size, values.size()));
    return check_finite(what, values);
  }

  Status check_matrix(const std::string& what, const Matrix& matrix, uint64_t rows, uint64_t columns) const {
    if (matrix.rows != rows || matrix.columns != columns) {
      return refuse(what + ": expected shape [" + std::to_string(rows) + ", " + std::to_string(columns) + "], found [" +
                    std::to_string(matrix.rows) + ", " + std::to_string(matrix.columns) + "]");
    }
    return check_vector(what, matrix.values, rows * columns);
  }

  LinearShape linear_shape(Site site) const {
    const LinearWeights* linear = base_.linear(site);
    return linear == nullptr ? LinearShape{} : LinearShape{linear->weight.rows, linear->weight.columns};
  }

  uint64_t table_rows(Site site) const {
    if (site.kind == SiteKind::kEmbeddingsWord) return base_.vocabulary;
    return site.kind == SiteKind::kEmbeddingsPosition ? base_.positions : base_.token_types;
  }

  Status check_operator(Site site, const BiasOperator& bias) const {
    PETS_RETURN_IF_ERROR(expect_kind(schema::is_linear_site(site.kind), "bias", "a linear"));
    return check_vector("bias", bias.value, linear_shape(site).out);
  }

  Status check_operator(Site site, const NormOperator& norm) const {
    PETS_RETURN_IF_ERROR(expect_kind(schema::is_norm_site(site.kind), "norm", "a LayerNorm"));
    if (norm.gamma.empty() && norm.beta.empty()) return refuse("norm: neither gamma nor beta");
    if (!norm.gamma.empty()) PETS_RETURN_IF_ERROR(check_vector("norm gamma", norm.gamma, base_.hidden));
    if (!norm.beta.empty()) PETS_RETURN_IF_ERROR(check_vector("norm beta", norm.beta, base_.hidden));
    return {};
  }

  Status check_operator(Site site, const LowRankOperator& low_rank) const {
    PETS_RETURN_IF_ERROR(expect_kind(schema::is_linear_site(site.kind), "low_rank", "a linear"));
    const LinearShape shape = linear_shape(site);
    if (low_rank.a.rows == 0) return refuse("low_rank: expected a rank of 1 or more, found 0");
    PETS_RETURN_IF_ERROR(check_matrix("low_rank a", low_rank.a, low_rank.a.rows, shape.in));
    PETS_RETURN_IF_ERROR(check_matrix("low_rank b", low_rank.b, shape.out, low_rank.a.rows));
    for (const float value : low_rank.b.values) {
      // The writer folds the scale into b.
      if (!std::isfinite(static_cast<float>(low_rank.scale * static_cast<double>(value)))) {
        std::ostringstream scale;
        scale << low_rank.scale;
        return refuse("low_rank: scale " + scale.str() + " times b is not finite");
      }
    }
    return std::isfinite(low_rank.scale) ? Status() : refuse("low_rank: the scale is not finite");
  }

  Status check_operator(Site site, const SparseOperator& sparse) const {
    PETS_RETURN_IF_ERROR(expect_kind(schema::is_linear_site(site.kind), "sparse", "a linear"));
    const LinearShape shape = linear_shape(site);
    if (shape.in > kMaxSparseInputs) return refuse("sparse: expected at most 65536 inputs, found " + std::to_string(shape.in));
    PETS_RETURN_IF_ERROR(expect_size("sparse in", sparse.out.size(), sparse.in.size()));
    PETS_RETURN_IF_ERROR(check_vector("sparse values", sparse.values, sparse.out.size()));
    for (size_t i = 0; i < sparse.out.size(); ++i) {
      const auto pair = "[" + std::to_string(sparse.out[i]) + ", " + std::to_string(sparse.in[i]) + "]";
      if (sparse.out[i] >= shape.out || sparse.in[i] >= shape.in) {
        return refuse("sparse: index " + pair + " is outside of [" + std::to_string(shape.out) + ", " + std::to_string(shape.in) + "]");
      }
      if (i > 0 && std::pair(sparse.out[i - 1], sparse.in[i - 1]) >= std::pair(sparse.out[i], sparse.in[i])) {
        return refuse("sparse: index " + pair + " is there twice or out of order");
      }
    }
    return {};
  }

  Status check_operator(Site site, const ReplacedRowsOperator& rows) const {
    PETS_RETURN_IF_ERROR(expect_kind(schema::is_embedding_site(site.kind), "sparse rows", "an embedding table"));
    PETS_RETURN_IF_ERROR(check_matrix("sparse values", rows.values, rows.rows.size(), base_.hidden));
    for (size_t i = 0; i < rows.rows.size(); ++i) {
      const std::string row = std::to_string(rows.rows[i]);
      if (rows.rows[i] >= table_rows(site)) return refuse("row " + row + " is outside of a table of " + std::to_string(table_rows(site)));
      if (i > 0 && rows.rows[i - 1] >= rows.rows[i]) return refuse("row " + row + " is there twice or out of order");
    }
    return {};
  }

  Status check_operator(Site site, const MaskOperator& mask) const {
    PETS_RETURN_IF_ERROR(expect_kind(schema::is_linear_site(site.kind), "mask", "a linear"));
    const LinearShape shape = linear_shape(site);
    if (mask.out != shape.out || mask.in != shape.in) {
      return refuse("mask: expected [" + std::to_string(shape.out) + ", " + std::to_string(shape.in) + "], found [" +
                    std::to_string(mask.out) + ", " + std::to_string(mask.in) + "]");
    }
    const uint64_t row_bytes = (shape.in + 7) / 8;
    PETS_RETURN_IF_ERROR(expect_size("mask bytes", shape.out * row_bytes, mask.bits.size()));
    if (shape.in % 8 == 0) return {};
    for (uint64_t out = 0; out < shape.out; ++out) {
      if (mask.bits[(out + 1) * row_bytes - 1] >> (shape.in % 8) != 0) {
        return refuse("mask: row " + std::to_string(out) + " has bits beyond input " + std::to_string(shape.in - 1));
      }
    }
    return {};
  }

  Status check_operator(Site site, const ScaleOperator& scale) const {
    PETS_RETURN_IF_ERROR(expect_kind(schema::is_linear_site(site.kind), "scale", "a linear"));
    const LinearShape shape = linear_shape(site);
    if (scale.input.empty() && scale.output.empty()) return refuse("scale: neither input nor output");
    if (!scale.input.empty()) PETS_RETURN_IF_ERROR(check_vector("scale input", scale.input, shape.in));
    if (!scale.output.empty()) PETS_RETURN_IF_ERROR(check_vector("scale output", scale.output, shape.out));
    return {};
  }

  Status check_operator(Site site, const BottleneckOperator& bottleneck) const {
    PETS_RETURN_IF_ERROR(expect_kind(schema::is_bottleneck_site(site.kind), "bottleneck", "layer.N.attention or layer.N.ffn"));
    const uint64_t inner = bottleneck.down.rows;
    if (inner == 0) return refuse("bottleneck: expected a width of 1 or more, found 0");
    PETS_RETURN_IF_ERROR(check_matrix("bottleneck down", bottleneck.down, inner, base_.hidden));
    PETS_RETURN_IF_ERROR(check_vector("bottleneck down bias", bottleneck.down_bias, inner));
    PETS_RETURN_IF_ERROR(check_matrix("bottleneck up", bottleneck.up, base_.hidden, inner));
    PETS_RETURN_IF_ERROR(check_vector("bottleneck up bias", bottleneck.up_bias, base_.hidden));
    for (const auto* norm : {&bottleneck.norm_before, &bottleneck.norm_after}) {
      if (!norm->has_value()) continue;
      const std::string name = norm == &bottleneck.norm_before ? "bottleneck ln_before " : "bottleneck ln_after ";
      PETS_RETURN_IF_ERROR(check_vector(name + "gamma", (*norm)->gamma, base_.hidden));
      PETS_RETURN_IF_ERROR(check_vector(name + "beta", (*norm)->beta, base_.hidden));
    }
    if (!std::isfinite(bottleneck.scaling)) return refuse("bottleneck: the scaling is not finite");
    if (bottleneck.channel_scaling.empty()) return {};
    return check_vector("bottleneck scaling", bottleneck.channel_scaling, base_.hidden);
  }

  Status check_head() const {
    const HeadSpec& head = task_.head;
    if (head.type == HeadType::kUnknown) return refuse("there is none");
    const std::string type(head_type_name(head.type));
    const bool tokens = head.type == HeadType::kTokenClassification || head.type == HeadType::kQuestionAnswering;
    if (head.pooling == Pooling::kUnknown || (head.pooling == Pooling::kTokens) != tokens) {
      return refuse("type " + type + ": expected pooling " + (tokens ? "tokens" : "cls, pooler or mean") + ", found " +
                    std::string(pooling_name(head.pooling)));
    }
    if (head.pooling == Pooling::kPooler && !base_.pooler) return refuse("pooling: pooler needs a base with a pooler, this one has none");
    if (head.normalize && head.type != HeadType::kEmbedding) return refuse("type " + type + ": normalize is for embeddings only");
    uint64_t width = base_.hidden;
    for (size_t i = 0; i < head.layers.size(); ++i) {
      const HeadLayer& layer = head.layers[i];
      const std::string what = "layer " + std::to_string(i) + " ";
      if (layer.weight.rows == 0) return refuse(what + "has no outputs");
      PETS_RETURN_IF_ERROR(check_matrix(what + "weight", layer.weight, layer.weight.rows, width));
      PETS_RETURN_IF_ERROR(check_vector(what + "bias", layer.bias, layer.weight.rows));
      width = layer.weight.rows;
    }
    return check_outputs(type);
  }

  Status check_outputs(const std::string& type) const {
    const HeadSpec& head = task_.head;
    const uint64_t outputs = head_outputs(head);
    uint64_t labels = 0;
    const auto expected = [&](const char* count) {
      return refuse("type " + type + ": expected " + count + ", found " + std::to_string(outputs));
    };
    switch (head.type) {
      case HeadType::kEmbedding:
        break;
      case HeadType::kRegression:
        if (outputs != 1) return expected("1 output");
        labels = head.labels.size() == 1 ? 1 : 0;  // a name for the value, which nothing prints
        break;
      case HeadType::kQuestionAnswering:
        if (outputs != 2) return expected("2 outputs");
        break;
      default:
        if (outputs == 0) return expected("1 output or more");
        labels = outputs;
    }
    if (head.labels.size() != labels) {
      return refuse("type " + type + ": expected " + std::to_string(labels) + " labels, found " + std::to_string(head.labels.size()));
    }
    std::set<std::string_view> seen;
    for (const std::string& label : head.labels) {
      if (!utf8::is_valid(label)) return refuse("the label " + in_quotes(label) + " is not UTF-8");
      if (!seen.insert(label).second) {
        return refuse("two labels are " + in_quotes(label) + "; give others in the manifest (head: {labels: [...]})");
      }
    }
    return {};
  }

  const BaseModel& base_;
  const PetTask& task_;
  std::string place_;
};

}  // namespace

Status check_task(const BaseModel& base, const PetTask& task) { return TaskChecker(base, task).check(); }

}  // namespace pets::converter
