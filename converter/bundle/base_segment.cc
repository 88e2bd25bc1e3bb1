// Packs the base: every linear in the precision asked for, in panels for the CPU, row-major for a GPU; tables likewise, vectors and the
// tokenizer as they are.
#include <initializer_list>

#include "converter/bundle/bundle_writer.h"
#include "converter/bundle/pack_tensors.h"
#include "runtime/platform/check.h"
#include "runtime/tokenizer/tables.h"
#include "schema/bundle_format.h"

namespace pets::converter {
namespace {

struct NormHandles {
  TensorHandle gamma, beta;
};
struct LayerHandles {
  LinearHandles query, key, value, attention_output, up, down;
  NormHandles attention_norm, ffn_norm;
};

constexpr uint64_t kCudaAlignment = 256;  // what cudaMalloc gives, and so what cuBLAS's kernels are chosen for

class BaseSegmentWriter {
 public:
  BaseSegmentWriter(const BaseModel& base, Precision precision, Target target)
      : base_(base),
        precision_(precision),
        target_(target),
        builder_(target == Target::kCuda ? kCudaAlignment : schema::kTensorAlignment) {}

  Result<SegmentImage> write() {
    PETS_RETURN_IF_ERROR(add_tensors());
    return builder_.finish("", [this] { write_metadata(); });
  }

 private:
  // ---- tensors
  Status add_tensors() {
    PETS_ASSIGN_OR_RETURN(word_, add_embeddings(base_.word_embeddings, SiteKind::kEmbeddingsWord));
    PETS_ASSIGN_OR_RETURN(position_, add_embeddings(base_.position_embeddings, SiteKind::kEmbeddingsPosition));
    PETS_ASSIGN_OR_RETURN(token_type_, add_embeddings(base_.token_type_embeddings, SiteKind::kEmbeddingsTokenType));
    embeddings_norm_ = add_norm(base_.embeddings_norm);
    layers_.resize(base_.encoder.size());
    for (size_t i = 0; i < base_.encoder.size(); ++i) PETS_RETURN_IF_ERROR(add_layer(static_cast<uint32_t>(i)));
    // For the CPU the pooler stays in float32: it runs on one row a query, so half the bytes would buy nothing and cost a third of the
    // drift. A GPU multiplies in one type.
    if (base_.pooler && target_ == Target::kCuda) {
      const std::string name = base_.source + ": " + schema::site_name({SiteKind::kPooler, 0});
      PETS_ASSIGN_OR_RETURN(pooler_.weight, add_row_major(builder_, base_.pooler->weight, computed(), name));
      pooler_.bias = add_vector(builder_, base_.pooler->bias);
    } else if (base_.pooler) {
      pooler_ = {add_panels(builder_, base_.pooler->weight), add_vector(builder_, base_.pooler->bias), {}};
    }
    if (base_.has_tokenizer) {
      const tokenizer::WordPieceArrays arrays = tokenizer::build_arrays(base_.tokenizer.tables.vocabulary);
      vocabulary_bytes_ = builder_.add(std::span<const uint8_t>(arrays.bytes), schema::DataType::kUInt8, {arrays.bytes.size()});
      vocabulary_offsets_ = add_u32(builder_, arrays.offsets);
      vocabulary_slots_ = add_u32(builder_, arrays.slots);
    }
    return {};
  }

  Status add_layer(uint32_t index) {
    const LayerWeights& source = base_.encoder[index];
    LayerHandles& target = layers_[index];
    // Weights of query, key and value one after another, and their scales, where a GPU multiplies by all three at once.
    PETS_RETURN_IF_ERROR(add_linears({{&source.query, {SiteKind::kAttentionQuery, index}, &target.query},
                                      {&source.key, {SiteKind::kAttentionKey, index}, &target.key},
                                      {&source.value, {SiteKind::kAttentionValue, index}, &target.value}}));
    PETS_RETURN_IF_ERROR(add_linears({{&source.attention_output, {SiteKind::kAttentionOutput, index}, &target.attention_output}}));
    target.attention_norm = add_norm(source.attention_norm);
    PETS_RETURN_IF_ERROR(add_linears({{&source.up, {SiteKind::kFfnUp, index}, &target.up}}));
    PETS_RETURN_IF_ERROR(add_linears({{&source.down, {SiteKind::kFfnDown, index}, &target.down}}));
    target.ffn_norm = add_norm(source.ffn_norm);
    return {};
  }

  struct NamedLinear {
    const LinearWeights* linear;
    Site site;
    LinearHandles* handles;
  };
  Status add_linears(std::initializer_list<NamedLinear> linears) {
    std::vector<std::vector<float>> scales;
    for (const auto& [linear, site, handles] : linears) {
      const std::string name = base_.source + ": " + schema::site_name(site);
      if (target_ == Target::kCpu) {
        PETS_RETURN_IF_ERROR(add_base_weight(builder_, linear->weight, precision_, name, handles));
        handles->bias = add_vector(builder_, linear->bias);
      } else if (precision_ == Precision::kInt8) {
        PETS_ASSIGN_OR_RETURN(handles->weight, add_row_major_int8(builder_, linear->weight, name, scales.emplace_back()));
      } else {
        PETS_ASSIGN_OR_RETURN(handles->weight, add_row_major(builder_, linear->weight, precision_, name));
      }
    }
    if (target_ == Target::kCpu) return {};
    const NamedLinear* scaled = linears.begin();
    for (const std::vector<float>& scale : scales) (scaled++)->handles->scale = add_vector(builder_, scale);
    for (const auto& [linear, site, handles] : linears) handles->bias = add_vector(builder_, linear->bias);
    return {};
  }

  /// The precision that a GPU computes in, and has its tables and its pooler in.
  Precision computed() const { return precision_ == Precision::kInt8 ? Precision::kFloat16 : precision_; }

  Result<TensorHandle> add_embeddings(const Matrix& table, SiteKind kind) {
    const Precision precision = target_ == Target::kCuda ? computed() : Precision::kFloat32;
    return add_row_major(builder_, table, precision, base_.source + ": " + schema::site_name({kind, 0}));
  }

  NormHandles add_norm(const NormWeights& norm) { return {add_vector(builder_, norm.gamma), add_vector(builder_, norm.beta)}; }

  // ---- metadata
  flatbuffers::Offset<schema::Linear> describe(const LinearHandles& linear) {
    const auto weight = builder_.describe(linear.weight);
    const auto bias = builder_.describe(linear.bias);
    const auto scale = linear.scale ? builder_.describe(*linear.scale) : flatbuffers::Offset<schema::Tensor>();
    return schema::CreateLinear(builder_.metadata(), weight, bias, scale);
  }
  flatbuffers::Offset<schema::Norm> describe(const NormHandles& norm) {
    const auto gamma = builder_.describe(norm.gamma);
    const auto beta = builder_.describe(norm.beta);
    return schema::CreateNorm(builder_.metadata(), gamma, beta);
  }
  flatbuffers::Offset<schema::Layer> describe(const LayerHandles& layer) {
    const auto query = describe(layer.query);
    const auto key = describe(layer.key);
    const auto value = describe(layer.value);
    const auto attention_output = describe(layer.attention_output);
    const auto attention_norm = describe(layer.attention_norm);
    const auto up = describe(layer.up);
    const auto down = describe(layer.down);
    const auto ffn_norm = describe(layer.ffn_norm);
    return schema::CreateLayer(builder_.metadata(), query, key, value, attention_output, attention_norm, up, down, ffn_norm);
  }

  flatbuffers::Offset<schema::WordPiece> describe_tokenizer() {
    flatbuffers::FlatBufferBuilder& metadata = builder_.metadata();
    const tokenizer::WordPieceTables& tables = base_.tokenizer.tables;
    std::vector<flatbuffers::Offset<schema::AddedToken>> added;
    for (const tokenizer::AddedToken& token : tables.added_tokens) {
      added.push_back(schema::CreateAddedToken(metadata, token.id, metadata.CreateString(token.content), token.special, token.normalized,
                                               token.lstrip, token.rstrip, token.single_word));
    }
    const auto bytes = builder_.describe(vocabulary_bytes_);
    const auto offsets = builder_.describe(vocabulary_offsets_);
    const auto slots = builder_.describe(vocabulary_slots_);
    const auto prefix = metadata.CreateString(tables.continuation_prefix);
    const auto added_tokens = metadata.CreateVector(added);
    return schema::CreateWordPiece(metadata, bytes, offsets, slots, tables.unknown_id, tables.class_id, tables.separator_id, prefix,
                                   tables.max_characters_per_word, tables.clean_text, tables.handle_chinese_characters, tables.lowercase,
                                   tables.strip_accents, added_tokens);
  }

  void write_metadata() {
    flatbuffers::FlatBufferBuilder& metadata = builder_.metadata();
    const auto architecture = metadata.CreateString("bert");
    const auto fingerprint = metadata.CreateString(base_.fingerprint);
    const auto source = metadata.CreateString(base_.source);
    const auto word = builder_.describe(word_);
    const auto position = builder_.describe(position_);
    const auto token_type = builder_.describe(token_type_);
    const auto embeddings_norm = describe(embeddings_norm_);
    std::vector<flatbuffers::Offset<schema::Layer>> layers;
    for (const LayerHandles& layer : layers_) layers.push_back(describe(layer));
    const auto encoder = metadata.CreateVector(layers);
    flatbuffers::Offset<schema::Linear> pooler;
    if (base_.pooler) pooler = describe(pooler_);
    flatbuffers::Offset<schema::WordPiece> tokenizer;
    if (base_.has_tokenizer) tokenizer = describe_tokenizer();
    metadata.Finish(schema::CreateBase(metadata, architecture, fingerprint, source, base_.hidden, base_.layers, base_.heads,
                                       base_.intermediate, base_.vocabulary, base_.positions, base_.token_types, base_.norm_epsilon,
                                       base_.activation, word, position, token_type, embeddings_norm, encoder, pooler, tokenizer,
                                       base_.pad_id, default_max_length(base_)));
  }

  const BaseModel& base_;
  Precision precision_;
  Target target_;
  SegmentBuilder builder_;
  TensorHandle word_, position_, token_type_, vocabulary_bytes_, vocabulary_offsets_, vocabulary_slots_;
  NormHandles embeddings_norm_;
  LinearHandles pooler_;
  std::vector<LayerHandles> layers_;
};

}  // namespace

uint32_t default_max_length(const BaseModel& base) {
  const uint64_t longest = base.tokenizer.model_max_length;
  return longest == 0 || longest > base.positions ? base.positions : static_cast<uint32_t>(longest);
}

Result<SegmentImage> make_base_segment(const BaseModel& base, Precision precision, Target target) {
  return BaseSegmentWriter(base, precision, target).write();
}

}  // namespace pets::converter
