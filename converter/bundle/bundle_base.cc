#include "converter/bundle/bundle_base.h"

#include <algorithm>

#include "converter/bundle/bundle_writer.h"
#include "kernels/gemm/panel_layout.h"

namespace pets::converter {
namespace {

using bundle::tensor_as;

/// Copies tensors out of a validated base segment.
class BaseUnpacker {
 public:
  explicit BaseUnpacker(std::span<const std::byte> segment) : segment_(segment) {}

  std::vector<float> vector(const schema::Tensor& tensor) const {
    const auto* values = tensor_as<float>(&tensor, segment_);
    return {values, values + tensor.length() / sizeof(float)};
  }
  /// Row-major: an embedding table, or a weight that was packed for a GPU, widened.
  Matrix table(const schema::Tensor& tensor) const {
    Matrix matrix{tensor.shape()->Get(0), tensor.shape()->Get(1), {}};
    const Precision precision = precision_of(tensor.dtype());
    if (precision == Precision::kFloat32) {
      matrix.values = vector(tensor);
      return matrix;
    }
    const auto* values = tensor_as<uint16_t>(&tensor, segment_);
    matrix.values.resize(matrix.rows * matrix.columns);
    std::transform(values, values + matrix.values.size(), matrix.values.begin(),
                   precision == Precision::kFloat16 ? kernels::float_from_half : kernels::float_from_bfloat);
    return matrix;
  }

  /// The weight of a linear in whatever precision it is stored, widened.
  Matrix weight(const schema::Linear& linear) const {
    const schema::Tensor& tensor = *linear.weight();
    if (tensor.layout() == schema::Layout::kPlain) {
      return tensor.dtype() == schema::DataType::kInt8 ? scaled_rows(tensor, *linear.scale()) : table(tensor);
    }
    switch (precision_of(tensor.dtype())) {
      case Precision::kFloat16:
        return widened(tensor, kernels::WeightType::kFloat16, [values = tensor_as<uint16_t>(&tensor, segment_)](uint64_t, size_t at) {
          return kernels::float_from_half(values[at]);
        });
      case Precision::kBFloat16:
        return widened(tensor, kernels::WeightType::kBFloat16, [values = tensor_as<uint16_t>(&tensor, segment_)](uint64_t, size_t at) {
          return kernels::float_from_bfloat(values[at]);
        });
      case Precision::kInt8:
        return widened(tensor, kernels::WeightType::kInt8,
                       [values = tensor_as<int8_t>(&tensor, segment_), scale = tensor_as<float>(linear.scale(), segment_)](
                           uint64_t out, size_t at) { return static_cast<float>(values[at]) * scale[out]; });
      case Precision::kFloat32:
        break;
    }
    return float_panels(tensor);
  }

  LinearWeights linear(const schema::Linear& linear) const { return {weight(linear), vector(*linear.bias())}; }
  NormWeights norm(const schema::Norm& norm) const { return {vector(*norm.gamma()), vector(*norm.beta())}; }

  LayerWeights layer(const schema::Layer& layer) const {
    return {linear(*layer.query()),        linear(*layer.key()), linear(*layer.value()), linear(*layer.attention_output()),
            norm(*layer.attention_norm()), linear(*layer.up()),  linear(*layer.down()),  norm(*layer.ffn_norm())};
  }

  tokenizer::WordPieceTables tokenizer(const schema::WordPiece& source) const {
    tokenizer::WordPieceTables tables;
    const auto* bytes = tensor_as<char>(source.vocabulary_bytes(), segment_);
    const auto* offsets = tensor_as<uint32_t>(source.vocabulary_offsets(), segment_);
    const uint64_t entries = source.vocabulary_offsets()->shape()->Get(0);
    const uint64_t size = source.vocabulary_bytes()->length();
    for (uint64_t i = 0; i + 1 < entries && offsets[i] <= offsets[i + 1] && offsets[i + 1] <= size; ++i) {
      tables.vocabulary.emplace_back(bytes + offsets[i], bytes + offsets[i + 1]);
    }
    tables.unknown_id = source.unknown_id();
    tables.class_id = source.class_id();
    tables.separator_id = source.separator_id();
    tables.continuation_prefix = source.continuation_prefix()->str();
    tables.max_characters_per_word = source.max_characters_per_word();
    tables.clean_text = source.clean_text();
    tables.handle_chinese_characters = source.handle_chinese_characters();
    tables.lowercase = source.lowercase();
    tables.strip_accents = source.strip_accents();
    for (const schema::AddedToken* token : *source.added_tokens()) {
      tables.added_tokens.push_back({token->id(), token->content()->str(), token->special(), token->normalized(), token->lstrip(),
                                     token->rstrip(), token->single_word()});
    }
    return tables;
  }

 private:
  /// int8, row-major.
  Matrix scaled_rows(const schema::Tensor& tensor, const schema::Tensor& scales) const {
    Matrix matrix{tensor.shape()->Get(0), tensor.shape()->Get(1), {}};
    matrix.values.resize(matrix.rows * matrix.columns);
    const auto* const values = tensor_as<int8_t>(&tensor, segment_);
    const auto* const scale = tensor_as<float>(&scales, segment_);
    for (size_t i = 0; i < matrix.values.size(); ++i) matrix.values[i] = static_cast<float>(values[i]) * scale[i / matrix.columns];
    return matrix;
  }
  Matrix float_panels(const schema::Tensor& tensor) const {
    Matrix matrix{tensor.shape()->Get(0), tensor.shape()->Get(1), {}};
    matrix.values.resize(matrix.rows * matrix.columns);
    kernels::unpack_panels16(tensor_as<float>(&tensor, segment_), matrix.rows, matrix.columns, matrix.values.data());
    return matrix;
  }

  /// `value_at(output, index among the panels' values)` for every weight.
  template <typename ValueAt>
  static Matrix widened(const schema::Tensor& tensor, kernels::WeightType type, const ValueAt& value_at) {
    Matrix matrix{tensor.shape()->Get(0), tensor.shape()->Get(1), {}};
    matrix.values.resize(matrix.rows * matrix.columns);
    const size_t group = kernels::input_group(type), padded = kernels::padded_inputs(type, matrix.columns);
    for (uint64_t out = 0; out < matrix.rows; ++out) {
      const size_t panel = out / kernels::kPanelColumns, column = out % kernels::kPanelColumns;
      const size_t first = kernels::panel_offset(padded, panel), width = kernels::panel_width(matrix.rows, panel);
      for (uint64_t in = 0; in < matrix.columns; ++in) {
        const size_t at = first + (in / group * width + column) * group + in % group;
        matrix.values[out * matrix.columns + in] = value_at(out, at);
      }
    }
    return matrix;
  }

  std::span<const std::byte> segment_;
};

}  // namespace

BaseModel base_of_bundle(const bundle::BundleFile& file) {
  const schema::Base& source = *file.base().base;
  const BaseUnpacker unpack(file.base().bytes);
  BaseModel base;
  base.source = source.source()->str();
  base.hidden = source.hidden();
  base.layers = source.layers();
  base.heads = source.heads();
  base.intermediate = source.intermediate();
  base.vocabulary = source.vocabulary();
  base.positions = source.positions();
  base.token_types = source.token_types();
  base.norm_epsilon = source.norm_epsilon();
  base.activation = source.activation();
  base.pad_id = source.pad_id();
  base.word_embeddings = unpack.table(*source.word_embeddings());
  base.position_embeddings = unpack.table(*source.position_embeddings());
  base.token_type_embeddings = unpack.table(*source.token_type_embeddings());
  base.embeddings_norm = unpack.norm(*source.embeddings_norm());
  for (const schema::Layer* layer : *source.encoder()) base.encoder.push_back(unpack.layer(*layer));
  if (source.pooler() != nullptr) base.pooler = unpack.linear(*source.pooler());
  if (source.tokenizer() != nullptr) {
    base.has_tokenizer = true;
    base.tokenizer.tables = unpack.tokenizer(*source.tokenizer());
    base.tokenizer.fingerprint_text = tokenizer_fingerprint_text(base.tokenizer.tables);
  }
  base.tokenizer.model_max_length = source.default_max_length();
  base.fingerprint = source.fingerprint()->str();
  return base;
}

Precision precision_of_bundle(const bundle::BundleFile& file) {
  const schema::Tensor& weight = *file.base().base->encoder()->Get(0)->query()->weight();
  return precision_of(weight.dtype());
}

Target target_of_bundle(const bundle::BundleFile& file) {
  const schema::Tensor& weight = *file.base().base->encoder()->Get(0)->query()->weight();
  return weight.layout() == schema::Layout::kPlain ? Target::kCuda : Target::kCpu;
}

}  // namespace pets::converter
