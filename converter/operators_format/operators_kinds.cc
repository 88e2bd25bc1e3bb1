// Reads one operator of each kind of docs/operators-format.md.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "converter/files/message_text.h"
#include "converter/model/activation_names.h"
#include "converter/operators_format/operators_reader.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

/// The tensors and options of one operator, and the dimensions of the linear it acts on.
class OperatorReader {
 public:
  OperatorReader(const BaseModel& base, Site site, const std::string& kind, const OrderedJson& options, TensorReader* tensors)
      : base_(base), site_(site), prefix_(schema::site_name(site) + ":" + kind + "."), options_(options), tensors_(tensors) {
    if (const LinearWeights* linear = base.linear(site); linear != nullptr) {
      out_ = linear->weight.rows;
      in_ = linear->weight.columns;
    }
  }

  Result<BiasOperator> bias() {
    PETS_RETURN_IF_ERROR(no_options());
    PETS_ASSIGN_OR_RETURN(std::vector<float> value, tensors_->vector(prefix_ + "value", out_));
    return BiasOperator{std::move(value)};
  }

  Result<NormOperator> norm() {
    PETS_RETURN_IF_ERROR(no_options());
    NormOperator norm;
    PETS_RETURN_IF_ERROR(optional_vector("gamma", base_.hidden, &norm.gamma));
    PETS_RETURN_IF_ERROR(optional_vector("beta", base_.hidden, &norm.beta));
    return norm;
  }

  Result<LowRankOperator> low_rank() {
    constexpr KeyRule kRules[] = {{"scale"}};
    PETS_RETURN_IF_ERROR(check_keys(options_, kRules, where()));
    LowRankOperator low_rank;
    PETS_ASSIGN_OR_RETURN(low_rank.scale, get_number(options_, "scale", where(), 1.0));
    PETS_ASSIGN_OR_RETURN(low_rank.a, tensors_->matrix(prefix_ + "a", TensorReader::kAny, in_));
    PETS_ASSIGN_OR_RETURN(low_rank.b, tensors_->matrix(prefix_ + "b", out_, low_rank.a.rows));
    return low_rank;
  }

  Result<SparseOperator> sparse() {
    PETS_RETURN_IF_ERROR(no_options());
    PETS_ASSIGN_OR_RETURN(const SafeTensor* tensor, take_any_length("indices", {2, TensorReader::kAny}));
    PETS_ASSIGN_OR_RETURN(const std::vector<int64_t> indices, to_integers(tensors_->file(), *tensor));
    const size_t count = indices.size() / 2;
    PETS_ASSIGN_OR_RETURN(const std::vector<float> values, tensors_->vector(prefix_ + "values", count));
    std::vector<size_t> order(count);
    std::iota(order.begin(), order.end(), size_t{0});
    const auto key = [&](size_t i) { return std::pair(indices[i], indices[count + i]); };
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return key(a) < key(b); });
    SparseOperator sparse;
    for (size_t i = 0; i < count; ++i) {
      const auto [out, in] = key(order[i]);
      const bool inside = out >= 0 && in >= 0 && static_cast<uint64_t>(out) < out_ && static_cast<uint64_t>(in) < in_;
      const bool repeated = i > 0 && key(order[i - 1]) == key(order[i]);
      if (!inside || repeated) {
        return refuse("indices", "[" + std::to_string(out) + ", " + std::to_string(in) + "] is " +
                                     (inside ? "there twice" : "outside of [" + std::to_string(out_) + ", " + std::to_string(in_) + "]"));
      }
      sparse.out.push_back(static_cast<uint32_t>(out));
      sparse.in.push_back(static_cast<uint32_t>(in));
      sparse.values.push_back(values[order[i]]);
    }
    return sparse;
  }

  Result<ReplacedRowsOperator> replaced_rows() {
    PETS_RETURN_IF_ERROR(no_options());
    const uint64_t table = site_.kind == SiteKind::kEmbeddingsWord       ? base_.vocabulary
                           : site_.kind == SiteKind::kEmbeddingsPosition ? base_.positions
                                                                         : base_.token_types;
    PETS_ASSIGN_OR_RETURN(const SafeTensor* tensor, take_any_length("rows", {TensorReader::kAny}));
    PETS_ASSIGN_OR_RETURN(const std::vector<int64_t> rows, to_integers(tensors_->file(), *tensor));
    PETS_ASSIGN_OR_RETURN(const Matrix values, tensors_->matrix(prefix_ + "values", rows.size(), base_.hidden));
    std::vector<size_t> order(rows.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return rows[a] < rows[b]; });
    ReplacedRowsOperator result;
    result.values = {values.rows, values.columns, {}};
    for (size_t i = 0; i < order.size(); ++i) {
      const int64_t row = rows[order[i]];
      if (row < 0 || static_cast<uint64_t>(row) >= table) {
        return refuse("rows", std::to_string(row) + " is outside of a table of " + std::to_string(table));
      }
      if (i > 0 && rows[order[i - 1]] == row) return refuse("rows", std::to_string(row) + " is there twice");
      result.rows.push_back(static_cast<uint32_t>(row));
      const auto first = values.values.begin() + static_cast<std::ptrdiff_t>(order[i] * values.columns);
      result.values.values.insert(result.values.values.end(), first, first + static_cast<std::ptrdiff_t>(values.columns));
    }
    return result;
  }

  Result<MaskOperator> mask() {
    PETS_RETURN_IF_ERROR(no_options());
    const uint64_t row_bytes = (in_ + 7) / 8;
    PETS_ASSIGN_OR_RETURN(const SafeTensor* tensor, tensors_->take(prefix_ + "bits", {out_, row_bytes}));
    if (tensor->dtype != SafeDtype::kU8) return refuse("bits", "expected type U8, found " + in_quotes(tensor->dtype_name));
    MaskOperator mask;
    mask.out = out_;
    mask.in = in_;
    mask.bits.reserve(tensor->bytes.size());
    for (const std::byte byte : tensor->bytes) mask.bits.push_back(static_cast<uint8_t>(byte));
    for (uint64_t row = 0; row < out_ && in_ % 8 != 0; ++row) {
      if (mask.bits[(row + 1) * row_bytes - 1] >> (in_ % 8) != 0) {
        return refuse("bits", "row " + std::to_string(row) + " sets spare bits, beyond input " + std::to_string(in_ - 1));
      }
    }
    return mask;
  }

  Result<ScaleOperator> scale() {
    PETS_RETURN_IF_ERROR(no_options());
    ScaleOperator scale;
    PETS_RETURN_IF_ERROR(optional_vector("input", in_, &scale.input));
    PETS_RETURN_IF_ERROR(optional_vector("output", out_, &scale.output));
    return scale;
  }

  Result<BottleneckOperator> bottleneck() {
    PETS_ASSIGN_OR_RETURN(BottleneckOperator bottleneck, bottleneck_options());
    PETS_ASSIGN_OR_RETURN(bottleneck.down, tensors_->matrix(prefix_ + "down.weight", TensorReader::kAny, base_.hidden));
    PETS_ASSIGN_OR_RETURN(bottleneck.down_bias, tensors_->vector(prefix_ + "down.bias", bottleneck.down.rows));
    PETS_ASSIGN_OR_RETURN(bottleneck.up, tensors_->matrix(prefix_ + "up.weight", base_.hidden, bottleneck.down.rows));
    PETS_ASSIGN_OR_RETURN(bottleneck.up_bias, tensors_->vector(prefix_ + "up.bias", base_.hidden));
    PETS_RETURN_IF_ERROR(bottleneck_norm("ln_before", &bottleneck.norm_before));
    PETS_RETURN_IF_ERROR(bottleneck_norm("ln_after", &bottleneck.norm_after));
    if (!tensors_->has(prefix_ + "scaling")) return bottleneck;
    if (options_.contains("scaling")) return refuse("scaling", "is there twice: as a tensor and as an option");
    PETS_ASSIGN_OR_RETURN(std::vector<float> scaling, tensors_->vector(prefix_ + "scaling", TensorReader::kAny));
    if (scaling.size() == 1) {
      bottleneck.scaling = scaling[0];
    } else if (scaling.size() == base_.hidden) {
      bottleneck.channel_scaling = std::move(scaling);
    } else {
      return refuse("scaling",
                    "expected shape [1] or [" + std::to_string(base_.hidden) + "], found [" + std::to_string(scaling.size()) + "]");
    }
    return bottleneck;
  }

 private:
  std::string where() const { return tensors_->file().path() + ": " + prefix_.substr(0, prefix_.size() - 1); }

  Status refuse(const char* part, const std::string& message) const {
    return Status::error(ErrorCode::kInvalidArgument, "%s: %s%s: %s", tensors_->file().path().c_str(), prefix_.c_str(), part,
                         message.c_str());
  }

  Status no_options() const { return check_keys(options_, {}, where()); }

  Status optional_vector(const char* part, uint64_t size, std::vector<float>* value) {
    if (!tensors_->has(prefix_ + part)) return {};
    PETS_ASSIGN_OR_RETURN(*value, tensors_->vector(prefix_ + part, size));
    return {};
  }

  /// Unlike kAny elsewhere, a length of 0 is fine: a task may change nothing at a site.
  Result<const SafeTensor*> take_any_length(const char* part, std::vector<uint64_t> shape) {
    const SafeTensor* tensor = tensors_->file().find(prefix_ + part);
    if (tensor != nullptr && !tensor->shape.empty() && tensor->shape.back() == 0) shape.back() = 0;
    return tensors_->take(prefix_ + part, shape);
  }

  Result<BottleneckOperator> bottleneck_options() {
    constexpr KeyRule kRules[] = {
        {"activation"}, {"parallel"}, {"original_ln_before"}, {"original_ln_after"}, {"residual_before_ln"}, {"adapter_residual_before_ln"},
        {"scaling"}};
    PETS_RETURN_IF_ERROR(check_keys(options_, kRules, where()));
    BottleneckOperator result;
    PETS_ASSIGN_OR_RETURN(const std::string name, get_string(options_, "activation", where(), "relu"));
    const std::optional<Activation> activation = operators_activation(name);
    if (!activation) return refuse("activation", in_quotes(name) + " is not known");
    result.activation = *activation;
    PETS_ASSIGN_OR_RETURN(result.parallel, get_bool(options_, "parallel", where(), false));
    PETS_ASSIGN_OR_RETURN(result.original_norm_before, get_bool(options_, "original_ln_before", where(), false));
    PETS_ASSIGN_OR_RETURN(result.original_norm_after, get_bool(options_, "original_ln_after", where(), true));
    PETS_ASSIGN_OR_RETURN(result.adapter_residual_before_norm, get_bool(options_, "adapter_residual_before_ln", where(), false));
    if (const auto residual = options_.find("residual_before_ln"); residual != options_.end() && *residual == "post_add") {
      result.residual_before_norm = schema::ResidualBeforeNorm::kPostAdd;
    } else {
      PETS_ASSIGN_OR_RETURN(const bool before, get_bool(options_, "residual_before_ln", where(), true));
      result.residual_before_norm = before ? schema::ResidualBeforeNorm::kBase : schema::ResidualBeforeNorm::kOriginal;
    }
    PETS_ASSIGN_OR_RETURN(const double scaling, get_number(options_, "scaling", where(), 1.0));
    result.scaling = static_cast<float>(scaling);
    return result;
  }

  Status bottleneck_norm(const char* name, std::optional<NormOperator>* norm) {
    const std::string prefix = prefix_ + name;
    if (!tensors_->has(prefix + ".gamma") && !tensors_->has(prefix + ".beta")) return {};
    norm->emplace();
    PETS_ASSIGN_OR_RETURN((*norm)->gamma, tensors_->vector(prefix + ".gamma", base_.hidden));
    PETS_ASSIGN_OR_RETURN((*norm)->beta, tensors_->vector(prefix + ".beta", base_.hidden));
    return {};
  }

  const BaseModel& base_;
  Site site_;
  std::string prefix_;
  const OrderedJson& options_;
  TensorReader* tensors_;
  uint64_t out_ = 0, in_ = 0;
};

template <typename Body>
Result<Operator> wrap(Site site, Result<Body> body) {
  if (!body) return body.status();
  return Operator{site, std::move(body).value()};
}

}  // namespace

Result<Operator> read_operator(const BaseModel& base, Site site, const std::string& kind, const OrderedJson& options,
                               TensorReader* tensors) {
  OperatorReader reader(base, site, kind, options, tensors);
  if (schema::is_linear_site(site.kind)) {
    if (kind == "bias") return wrap(site, reader.bias());
    if (kind == "low_rank") return wrap(site, reader.low_rank());
    if (kind == "sparse") return wrap(site, reader.sparse());
    if (kind == "mask") return wrap(site, reader.mask());
    if (kind == "scale") return wrap(site, reader.scale());
  }
  if (schema::is_norm_site(site.kind) && kind == "norm") return wrap(site, reader.norm());
  if (schema::is_embedding_site(site.kind) && kind == "sparse") return wrap(site, reader.replaced_rows());
  if (schema::is_bottleneck_site(site.kind) && kind == "bottleneck") return wrap(site, reader.bottleneck());
  return Status::error(ErrorCode::kUnsupported, "%s: there is no operator %s at the site %s", tensors->file().path().c_str(),
                       in_quotes(kind).c_str(), schema::site_name(site).c_str());
}

}  // namespace pets::converter
