#include <algorithm>
#include <cmath>

#include "runtime/bundle/validate.h"
#include "runtime/platform/check.h"

namespace pets::bundle {
namespace {

using schema::DataType;
using schema::OperatorBody;
using schema::Site;
using schema::SiteKind;

constexpr uint32_t kMaxLayers = 1024;  // where the base is not at hand

/// Rows of an embedding table.
uint64_t table_rows(SiteKind kind, const Dimensions* dimensions) {
  if (dimensions == nullptr) return kAnySize;
  if (kind == SiteKind::kEmbeddingsWord) return dimensions->vocabulary;
  return kind == SiteKind::kEmbeddingsPosition ? dimensions->positions : dimensions->token_types;
}

uint64_t first_size(const schema::Tensor* tensor) {
  return tensor == nullptr || tensor->shape() == nullptr || tensor->shape()->size() == 0 ? kAnySize : tensor->shape()->Get(0);
}

/// Checks the structure of one operator's tensors. Their contents come later, when they are known not to overlap.
class OperatorChecker {
 public:
  OperatorChecker(SegmentChecker& checker, const schema::Operator& op, const Dimensions* dimensions)
      : checker_(checker),
        op_(op),
        site_{op.site(), op.layer()},
        shape_(linear_shape(op.site(), dimensions)),
        hidden_(dimensions == nullptr ? kAnySize : dimensions->hidden) {}

  Status check() {
    switch (op_.body_type()) {
      case OperatorBody::Bias:
        return checker_.check(op_.body_as_Bias()->value(), name(":bias.value"), vector_spec(shape_.out));
      case OperatorBody::TaskNorm:
        return check_norm(*op_.body_as_TaskNorm());
      case OperatorBody::LowRank:
        return check_low_rank(*op_.body_as_LowRank());
      case OperatorBody::Sparse:
        return check_sparse(*op_.body_as_Sparse());
      case OperatorBody::ReplacedRows:
        return check_replaced_rows(*op_.body_as_ReplacedRows());
      case OperatorBody::Mask:
        return checker_.check(op_.body_as_Mask()->bits(), name(":mask.bits"), mask_spec(shape_.out, shape_.in));
      case OperatorBody::Scale:
        return check_scale(*op_.body_as_Scale());
      case OperatorBody::Bottleneck:
        return check_bottleneck(*op_.body_as_Bottleneck());
      case OperatorBody::NONE:
        break;
    }
    return {};
  }

 private:
  TensorName name(const char* part) const { return {site_, part}; }

  Status check_norm(const schema::TaskNorm& norm) {
    if (norm.gamma() == nullptr && norm.beta() == nullptr) return empty("norm");
    PETS_RETURN_IF_ERROR(checker_.check_optional(norm.gamma(), name(":norm.gamma"), vector_spec(hidden_)));
    return checker_.check_optional(norm.beta(), name(":norm.beta"), vector_spec(hidden_));
  }

  Status check_low_rank(const schema::LowRank& low_rank) {
    PETS_RETURN_IF_ERROR(checker_.check(low_rank.a(), name(":low_rank.a"), matrix_spec(kAnySize, shape_.in)));
    const uint64_t rank = low_rank.a()->shape()->Get(0);
    if (rank == 0) return empty("low_rank");
    return checker_.check(low_rank.b(), name(":low_rank.b"), matrix_spec(shape_.out, rank));
  }

  Status check_sparse(const schema::Sparse& sparse) {
    const uint64_t starts = shape_.out == kAnySize ? kAnySize : shape_.out + 1;
    PETS_RETURN_IF_ERROR(checker_.check(sparse.column_start(), name(":sparse.column_start"), index_spec(DataType::kUInt32, starts)));
    PETS_RETURN_IF_ERROR(checker_.check(sparse.rows(), name(":sparse.rows"), index_spec(DataType::kUInt16, kAnySize)));
    return checker_.check(sparse.values(), name(":sparse.values"), vector_spec(first_size(sparse.rows())));
  }

  Status check_replaced_rows(const schema::ReplacedRows& replaced) {
    PETS_RETURN_IF_ERROR(checker_.check(replaced.rows(), name(":sparse.rows"), index_spec(DataType::kUInt32, kAnySize)));
    return checker_.check(replaced.values(), name(":sparse.values"), table_spec(first_size(replaced.rows()), hidden_));
  }

  Status check_scale(const schema::Scale& scale) {
    if (scale.input() == nullptr && scale.output() == nullptr) return empty("scale");
    PETS_RETURN_IF_ERROR(checker_.check_optional(scale.input(), name(":scale.input"), vector_spec(shape_.in)));
    return checker_.check_optional(scale.output(), name(":scale.output"), vector_spec(shape_.out));
  }

  Status check_bottleneck(const schema::Bottleneck& b) {
    PETS_RETURN_IF_ERROR(validate_linear(checker_, b.down(), name(":bottleneck.down.weight"), name(":bottleneck.down.bias"),
                                         matrix_spec(kAnySize, hidden_)));
    const uint64_t width = first_size(b.down()->weight());
    if (width == 0) return empty("bottleneck");
    PETS_RETURN_IF_ERROR(
        validate_linear(checker_, b.up(), name(":bottleneck.up.weight"), name(":bottleneck.up.bias"), matrix_spec(hidden_, width)));
    PETS_RETURN_IF_ERROR(check_inner_norm(b.norm_before(), ":bottleneck.ln_before.gamma", ":bottleneck.ln_before.beta"));
    PETS_RETURN_IF_ERROR(check_inner_norm(b.norm_after(), ":bottleneck.ln_after.gamma", ":bottleneck.ln_after.beta"));
    PETS_RETURN_IF_ERROR(checker_.check_optional(b.channel_scaling(), name(":bottleneck.scaling"), vector_spec(hidden_)));
    if (b.activation() > schema::Activation::MAX || b.residual_before_norm() > schema::ResidualBeforeNorm::MAX) {
      return checker_.error(ErrorCode::kUnsupported, "%s: the bottleneck's activation %u or residual %u is not known to this build",
                            schema::site_name(site_).c_str(), static_cast<unsigned>(b.activation()),
                            static_cast<unsigned>(b.residual_before_norm()));
    }
    if (!std::isfinite(b.scaling())) {
      return checker_.error(ErrorCode::kDamaged, "%s: the bottleneck's scaling is not finite", schema::site_name(site_).c_str());
    }
    return {};
  }

  Status check_inner_norm(const schema::Norm* norm, const char* gamma, const char* beta) {
    if (norm == nullptr) return {};
    PETS_RETURN_IF_ERROR(checker_.check(norm->gamma(), name(gamma), vector_spec(hidden_)));
    return checker_.check(norm->beta(), name(beta), vector_spec(hidden_));
  }

  Status empty(const char* kind) const {
    return checker_.error(ErrorCode::kDamaged, "%s: the %s operator is empty", schema::site_name(site_).c_str(), kind);
  }

  SegmentChecker& checker_;
  const schema::Operator& op_;
  Site site_;
  LinearShape shape_;
  uint64_t hidden_;
};

bool fits(OperatorBody body, SiteKind site) {
  switch (body) {
    case OperatorBody::Bias:
    case OperatorBody::LowRank:
    case OperatorBody::Sparse:
    case OperatorBody::Mask:
    case OperatorBody::Scale:
      return schema::is_linear_site(site);
    case OperatorBody::TaskNorm:
      return schema::is_norm_site(site);
    case OperatorBody::ReplacedRows:
      return schema::is_embedding_site(site);
    case OperatorBody::Bottleneck:
      return schema::is_bottleneck_site(site);
    case OperatorBody::NONE:
      break;
  }
  return false;
}

Status check_site(const SegmentChecker& checker, const schema::Operator* op, uint32_t index, const Dimensions* dimensions) {
  if (op == nullptr || op->body() == nullptr) return checker.error(ErrorCode::kDamaged, "operator %u is missing", index);
  if (op->site() > SiteKind::MAX || op->body_type() > OperatorBody::MAX) {
    return checker.error(ErrorCode::kUnsupported, "operator %u has site %u and kind %u, this build knows sites to %u and kinds to %u",
                         index, static_cast<unsigned>(op->site()), static_cast<unsigned>(op->body_type()),
                         static_cast<unsigned>(SiteKind::MAX), static_cast<unsigned>(OperatorBody::MAX));
  }
  const uint32_t layers = dimensions == nullptr ? kMaxLayers : dimensions->layers;
  if (op->layer() >= (schema::is_layer_site(op->site()) ? layers : 1)) {
    return checker.error(ErrorCode::kDamaged, "operator %u is at layer %u of %u", index, op->layer(), layers);
  }
  if (!fits(op->body_type(), op->site())) {
    return checker.error(ErrorCode::kDamaged, "operator %u (%s) does not fit site %s", index, schema::EnumNameOperatorBody(op->body_type()),
                         schema::site_name({op->site(), op->layer()}).c_str());
  }
  return {};
}

/// Sites and kinds, sorted: neighbours that are equal are operators of one kind at one site.
Status check_one_of_a_kind(const SegmentChecker& checker, const schema::Task& task) {
  std::vector<uint64_t> keys;
  keys.reserve(task.operators()->size());
  for (const schema::Operator* op : *task.operators()) {
    keys.push_back(uint64_t{op->layer()} << 16 | static_cast<uint64_t>(op->site()) << 8 | static_cast<uint64_t>(op->body_type()));
  }
  std::sort(keys.begin(), keys.end());
  const auto twice = std::adjacent_find(keys.begin(), keys.end());
  if (twice == keys.end()) return {};
  const Site site{static_cast<SiteKind>(*twice >> 8 & 0xFF), static_cast<uint32_t>(*twice >> 16)};
  return checker.error(ErrorCode::kDamaged, "two %s operators at %s",
                       schema::EnumNameOperatorBody(static_cast<OperatorBody>(*twice & 0xFF)), schema::site_name(site).c_str());
}

/// Every row below `in`, rising within a column. Branch-free loops, since a diff-pruned task has 10^5 entries and a bundle 10^2 tasks.
bool are_columns_valid(std::span<const uint32_t> start, std::span<const uint16_t> rows, uint64_t in) {
  if (start.empty() || start.front() != 0 || start.back() != rows.size()) return false;
  uint32_t falls = 0;
  for (size_t c = 1; c < start.size(); ++c) falls |= static_cast<uint32_t>(start[c] < start[c - 1]);
  if (falls != 0) return false;
  if (rows.empty()) return true;
  uint16_t greatest = rows[0];
  size_t steps_down = 0;  // anywhere; those at the start of a column are allowed
  for (size_t i = 1; i < rows.size(); ++i) {
    greatest = std::max(greatest, rows[i]);
    steps_down += static_cast<size_t>(rows[i] <= rows[i - 1]);
  }
  size_t allowed = 0;
  for (size_t c = 1; c + 1 < start.size(); ++c) {
    const uint32_t first = start[c];
    if (first == 0 || first == start[c + 1]) continue;
    allowed += static_cast<size_t>(rows[first] <= rows[first - 1]);
  }
  return greatest < in && steps_down == allowed;
}

bool are_rows_valid(std::span<const uint32_t> rows, uint64_t limit) {
  for (size_t i = 1; i < rows.size(); ++i) {
    if (rows[i] <= rows[i - 1]) return false;
  }
  return rows.empty() || rows.back() < limit;
}

template <typename T>
std::span<const T> values_of(const schema::Tensor& tensor, std::span<const std::byte> segment) {
  return {tensor_as<T>(&tensor, segment), static_cast<size_t>(tensor.shape()->Get(0))};
}

Status check_contents(const SegmentChecker& checker, const schema::Operator& op, const Dimensions* dimensions) {
  const Site site{op.site(), op.layer()};
  if (const auto* sparse = op.body_as_Sparse()) {
    const auto start = values_of<uint32_t>(*sparse->column_start(), checker.segment());
    const auto rows = values_of<uint16_t>(*sparse->rows(), checker.segment());
    if (!are_columns_valid(start, rows, linear_shape(op.site(), dimensions).in)) {
      return checker.error(ErrorCode::kDamaged, "%s: the sparse operator's columns are out of range or not ascending",
                           schema::site_name(site).c_str());
    }
  }
  if (const auto* replaced = op.body_as_ReplacedRows()) {
    if (!are_rows_valid(values_of<uint32_t>(*replaced->rows(), checker.segment()), table_rows(op.site(), dimensions))) {
      return checker.error(ErrorCode::kDamaged, "%s: the replaced rows are out of range or not ascending", schema::site_name(site).c_str());
    }
  }
  return {};
}

}  // namespace

Status validate_operators(SegmentChecker& checker, const schema::Task& task, const Dimensions* dimensions) {
  if (task.operators() == nullptr) return checker.error(ErrorCode::kDamaged, "its operators are missing");
  const auto& operators = *task.operators();
  for (uint32_t i = 0; i < operators.size(); ++i) PETS_RETURN_IF_ERROR(check_site(checker, operators.Get(i), i, dimensions));
  PETS_RETURN_IF_ERROR(check_one_of_a_kind(checker, task));
  for (const schema::Operator* op : operators) PETS_RETURN_IF_ERROR(OperatorChecker(checker, *op, dimensions).check());
  PETS_RETURN_IF_ERROR(checker.check_no_overlap());
  for (const schema::Operator* op : operators) PETS_RETURN_IF_ERROR(check_contents(checker, *op, dimensions));
  return {};
}

}  // namespace pets::bundle
