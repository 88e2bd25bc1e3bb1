#include <cmath>
#include <utility>

#include "runtime/bundle/text.h"
#include "runtime/bundle/validate.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::bundle {
namespace {

using schema::SiteKind;

struct Limit {
  const char* name;
  uint64_t value, low, high;
};

/// Sizes that make sense and keep every product of two of them within 64 bits. Sparse deltas count inputs with 16 bits.
Status check_sizes(const SegmentChecker& checker, const schema::Base& base) {
  const Limit limits[] = {{"hidden", base.hidden(), 1, 65536},
                          {"layers", base.layers(), 1, 1024},
                          {"heads", base.heads(), 1, 65536},
                          {"intermediate", base.intermediate(), 1, 65536},
                          {"vocabulary", base.vocabulary(), 1, INT32_MAX},
                          {"positions", base.positions(), 1, 1 << 20},
                          {"token_types", base.token_types(), 1, 65536}};
  for (const Limit& limit : limits) {
    if (limit.value < limit.low || limit.value > limit.high) {
      return checker.error(ErrorCode::kDamaged, "%s is %llu, expected %llu to %llu", limit.name,
                           static_cast<unsigned long long>(limit.value), static_cast<unsigned long long>(limit.low),
                           static_cast<unsigned long long>(limit.high));
    }
  }
  if (base.hidden() % base.heads() != 0) {
    return checker.error(ErrorCode::kDamaged, "hidden size %u is no multiple of %u heads", base.hidden(), base.heads());
  }
  if (!std::isfinite(base.norm_epsilon()) || base.norm_epsilon() <= 0) {
    return checker.error(ErrorCode::kDamaged, "norm_epsilon is %g, expected a positive number", static_cast<double>(base.norm_epsilon()));
  }
  if (base.activation() > schema::Activation::MAX) {
    return checker.error(ErrorCode::kUnsupported, "activation %u, this build knows 0 to %u", static_cast<unsigned>(base.activation()),
                         static_cast<unsigned>(schema::Activation::MAX));
  }
  if (base.pad_id() >= base.vocabulary()) {
    return checker.error(ErrorCode::kDamaged, "pad_id %u is beyond the vocabulary of %u", base.pad_id(), base.vocabulary());
  }
  if (base.default_max_length() > base.positions()) {
    return checker.error(ErrorCode::kDamaged, "default_max_length %u is beyond the %u positions", base.default_max_length(),
                         base.positions());
  }
  return {};
}

/// A linear of the layers. Its values, scales included, are covered by checksums: to look at them would cost a pass over the base.
Status check_linear(SegmentChecker& checker, const schema::Linear* linear, SiteKind kind, uint32_t layer, const Dimensions& dimensions) {
  const LinearShape shape = linear_shape(kind, &dimensions);
  const schema::Site site{kind, layer};
  PETS_RETURN_IF_ERROR(validate_linear(checker, linear, {site, ".weight"}, {site, ".bias"}, base_matrix_spec(shape.out, shape.in)));
  if (linear->weight()->dtype() != schema::DataType::kInt8) return {};
  return checker.check(linear->scale(), {site, ".scale"}, vector_spec(shape.out));
}

/// Of tables and pooler beside linears that a GPU reads: one type, in which it computes. Unknown where the linears are for the CPU.
schema::DataType computed_type(const schema::Tensor& linear) {
  if (linear.layout() != schema::Layout::kPlain) return schema::DataType::kUnknown;
  return linear.dtype() == schema::DataType::kInt8 ? schema::DataType::kFloat16 : linear.dtype();
}

/// The precision of a base is one word, and so is what it was packed for: all its layers' linears have one type and one layout, and tables
/// (and the pooler, checked after this) follow from these.
Status check_one_form(const SegmentChecker& checker, const schema::Base& base) {
  const schema::Tensor& first = *base.encoder()->Get(0)->query()->weight();
  const schema::DataType type = first.dtype();
  for (uint32_t i = 0; i < base.encoder()->size(); ++i) {
    const schema::Layer& layer = *base.encoder()->Get(i);
    const std::pair<const schema::Linear*, SiteKind> linears[] = {{layer.query(), SiteKind::kAttentionQuery},
                                                                  {layer.key(), SiteKind::kAttentionKey},
                                                                  {layer.value(), SiteKind::kAttentionValue},
                                                                  {layer.attention_output(), SiteKind::kAttentionOutput},
                                                                  {layer.up(), SiteKind::kFfnUp},
                                                                  {layer.down(), SiteKind::kFfnDown}};
    for (const auto& [linear, kind] : linears) {
      const schema::Tensor& found = *linear->weight();
      if (found.dtype() != type) {
        return checker.error(ErrorCode::kUnsupported, "tensor %s has data type %s, those before it %s: layers in several precisions",
                             to_string({{kind, i}, ".weight"}).c_str(), type_name(found.dtype()), type_name(type));
      }
      if (found.layout() != first.layout()) {
        return checker.error(ErrorCode::kUnsupported, "tensor %s has layout %s, those before it %s: layers for several backends",
                             to_string({{kind, i}, ".weight"}).c_str(), layout_name(found.layout()), layout_name(first.layout()));
      }
    }
  }
  const schema::DataType computed = computed_type(first);
  const schema::DataType expected = computed != schema::DataType::kUnknown ? computed : schema::DataType::kFloat32;
  const std::pair<const schema::Tensor*, SiteKind> tables[] = {{base.word_embeddings(), SiteKind::kEmbeddingsWord},
                                                               {base.position_embeddings(), SiteKind::kEmbeddingsPosition},
                                                               {base.token_type_embeddings(), SiteKind::kEmbeddingsTokenType}};
  for (const auto& [table, kind] : tables) {
    if (table->dtype() == expected) continue;
    return checker.error(ErrorCode::kUnsupported, "tensor %s has data type %s, expected %s beside linears of %s in layout %s",
                         to_string({{kind, 0}, ".weight"}).c_str(), type_name(table->dtype()), type_name(expected), type_name(type),
                         layout_name(first.layout()));
  }
  return {};
}

Status check_pooler(SegmentChecker& checker, const schema::Base& base) {
  if (base.pooler() == nullptr) return {};
  const schema::Tensor& first = *base.encoder()->Get(0)->query()->weight();
  const schema::Site site{SiteKind::kPooler, 0};
  return validate_linear(checker, base.pooler(), {site, ".weight"}, {site, ".bias"}, pooler_spec(base.hidden(), computed_type(first)));
}

Status check_norm(SegmentChecker& checker, const schema::Norm* norm, SiteKind kind, uint32_t layer, uint64_t hidden) {
  const schema::Site site{kind, layer};
  PETS_RETURN_IF_ERROR(checker.check(norm == nullptr ? nullptr : norm->gamma(), {site, ".gamma"}, vector_spec(hidden)));
  return checker.check(norm->beta(), {site, ".beta"}, vector_spec(hidden));
}

Status check_layer(SegmentChecker& checker, const schema::Layer* layer, uint32_t index, const Dimensions& dimensions) {
  if (layer == nullptr) return checker.error(ErrorCode::kDamaged, "layer %u is missing", index);
  PETS_RETURN_IF_ERROR(check_linear(checker, layer->query(), SiteKind::kAttentionQuery, index, dimensions));
  PETS_RETURN_IF_ERROR(check_linear(checker, layer->key(), SiteKind::kAttentionKey, index, dimensions));
  PETS_RETURN_IF_ERROR(check_linear(checker, layer->value(), SiteKind::kAttentionValue, index, dimensions));
  PETS_RETURN_IF_ERROR(check_linear(checker, layer->attention_output(), SiteKind::kAttentionOutput, index, dimensions));
  PETS_RETURN_IF_ERROR(check_norm(checker, layer->attention_norm(), SiteKind::kAttentionNorm, index, dimensions.hidden));
  PETS_RETURN_IF_ERROR(check_linear(checker, layer->up(), SiteKind::kFfnUp, index, dimensions));
  PETS_RETURN_IF_ERROR(check_linear(checker, layer->down(), SiteKind::kFfnDown, index, dimensions));
  return check_norm(checker, layer->ffn_norm(), SiteKind::kFfnNorm, index, dimensions.hidden);
}

Status check_embeddings(SegmentChecker& checker, const schema::Base& base, const Dimensions& d) {
  const auto name = [](SiteKind kind) { return TensorName{{kind, 0}, ".weight"}; };
  PETS_RETURN_IF_ERROR(checker.check(base.word_embeddings(), name(SiteKind::kEmbeddingsWord), base_table_spec(d.vocabulary, d.hidden)));
  PETS_RETURN_IF_ERROR(
      checker.check(base.position_embeddings(), name(SiteKind::kEmbeddingsPosition), base_table_spec(d.positions, d.hidden)));
  PETS_RETURN_IF_ERROR(
      checker.check(base.token_type_embeddings(), name(SiteKind::kEmbeddingsTokenType), base_table_spec(d.token_types, d.hidden)));
  return check_norm(checker, base.embeddings_norm(), SiteKind::kEmbeddingsNorm, 0, d.hidden);
}

/// The tables' bounds; what they say of the vocabulary is checked by WordPieceTokenizer::create.
Status check_tokenizer(SegmentChecker& checker, const schema::WordPiece& tables) {
  const auto name = [](const char* part) { return TensorName{{}, part}; };
  PETS_RETURN_IF_ERROR(
      checker.check(tables.vocabulary_bytes(), name("tokenizer.vocabulary_bytes"), index_spec(schema::DataType::kUInt8, kAnySize)));
  PETS_RETURN_IF_ERROR(
      checker.check(tables.vocabulary_offsets(), name("tokenizer.vocabulary_offsets"), index_spec(schema::DataType::kUInt32, kAnySize)));
  PETS_RETURN_IF_ERROR(
      checker.check(tables.vocabulary_slots(), name("tokenizer.vocabulary_slots"), index_spec(schema::DataType::kUInt32, kAnySize)));
  if (!is_text(tables.continuation_prefix())) return checker.error(ErrorCode::kDamaged, "the tokenizer's continuation prefix is missing");
  if (tables.added_tokens() == nullptr) return checker.error(ErrorCode::kDamaged, "the tokenizer's added tokens are missing");
  for (const schema::AddedToken* token : *tables.added_tokens()) {
    if (token == nullptr || !is_text(token->content())) {
      return checker.error(ErrorCode::kDamaged, "an added token of the tokenizer has no valid UTF-8 content");
    }
  }
  if (tables.strip_accents() > schema::StripAccents::MAX) {
    return checker.error(ErrorCode::kUnsupported, "the tokenizer's strip_accents is %u, this build knows 0 to %u",
                         static_cast<unsigned>(tables.strip_accents()), static_cast<unsigned>(schema::StripAccents::MAX));
  }
  return {};
}

Status check_structure(SegmentChecker& checker, const schema::Base& base, std::string_view fingerprint, Dimensions* dimensions) {
  if (!is_text(base.architecture()) || !is_text(base.source()) || base.fingerprint() == nullptr) {
    return checker.error(ErrorCode::kDamaged, "architecture, source or fingerprint is missing");
  }
  if (base.architecture()->string_view() != "bert") {
    return checker.error(ErrorCode::kUnsupported, "architecture \"%s\", this build knows \"bert\"",
                         utf8::printable(base.architecture()->string_view()).c_str());
  }
  if (base.fingerprint()->string_view() != fingerprint) {
    return checker.error(ErrorCode::kMismatch, "its fingerprint is %s, the directory says %s",
                         utf8::printable(base.fingerprint()->string_view()).c_str(), std::string(fingerprint).c_str());
  }
  PETS_RETURN_IF_ERROR(check_sizes(checker, base));
  *dimensions = {base.hidden(),     base.layers(),    base.heads(),       base.intermediate(),
                 base.vocabulary(), base.positions(), base.token_types(), base.pooler() != nullptr};
  PETS_RETURN_IF_ERROR(check_embeddings(checker, base, *dimensions));
  const uint32_t found = base.encoder() == nullptr ? 0 : base.encoder()->size();
  if (found != base.layers()) return checker.error(ErrorCode::kDamaged, "expected %u layers, found %u", base.layers(), found);
  for (uint32_t i = 0; i < found; ++i) PETS_RETURN_IF_ERROR(check_layer(checker, base.encoder()->Get(i), i, *dimensions));
  PETS_RETURN_IF_ERROR(check_one_form(checker, base));
  PETS_RETURN_IF_ERROR(check_pooler(checker, base));
  if (base.tokenizer() != nullptr) PETS_RETURN_IF_ERROR(check_tokenizer(checker, *base.tokenizer()));
  return checker.check_no_overlap();
}

}  // namespace

LinearShape linear_shape(SiteKind kind, const Dimensions* dimensions) {
  if (dimensions == nullptr) return {};
  const uint64_t hidden = dimensions->hidden, intermediate = dimensions->intermediate;
  if (kind == SiteKind::kFfnUp) return {intermediate, hidden};
  if (kind == SiteKind::kFfnDown) return {hidden, intermediate};
  return {hidden, hidden};
}

bool is_text(const flatbuffers::String* text) { return text != nullptr && utf8::is_valid(text->string_view()); }

Status validate_linear(SegmentChecker& checker, const schema::Linear* linear, const TensorName& weight, const TensorName& bias,
                       const TensorSpec& spec) {
  PETS_RETURN_IF_ERROR(checker.check(linear == nullptr ? nullptr : linear->weight(), weight, spec));
  const schema::DataType type = linear->weight()->dtype();
  if (linear->scale() != nullptr && type != schema::DataType::kInt8) {
    return checker.error(ErrorCode::kDamaged, "tensor %s is %s and has a scale beside it: scales go with int8", to_string(weight).c_str(),
                         type_name(type));
  }
  return checker.check(linear->bias(), bias, vector_spec(linear->weight()->shape()->Get(0)));
}

Status validate_base(const SegmentContext& context, std::string_view fingerprint, const schema::Base** base, Dimensions* dimensions) {
  SegmentChecker checker(context.subject, context.bytes, context.metadata_length);
  const auto* root = verified_root<schema::Base>(context.bytes.first(context.metadata_length));
  const Status structure = root == nullptr ? checker.error(ErrorCode::kDamaged, "its metadata is not a valid FlatBuffer")
                                           : check_structure(checker, *root, fingerprint, dimensions);
  if (!context.checksum_matches) return checker.damage(structure);
  *base = root;
  return structure;
}

}  // namespace pets::bundle
