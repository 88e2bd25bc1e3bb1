// The shared encoder as read from a Hugging Face directory, before it is packed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "converter/model/operators.h"
#include "converter/tokenizer/tokenizer_reader.h"

namespace pets::converter {

struct LinearWeights {
  Matrix weight;            // [out, in]
  std::vector<float> bias;  // [out]
};
struct NormWeights {
  std::vector<float> gamma, beta;
};
struct LayerWeights {
  LinearWeights query, key, value, attention_output;
  NormWeights attention_norm;
  LinearWeights up, down;
  NormWeights ffn_norm;
};

/// A BERT-family encoder in float32 (half-precision sources are widened).
struct BaseModel {
  std::string source;  // the directory's last component
  uint32_t hidden = 0, layers = 0, heads = 0, intermediate = 0, vocabulary = 0, positions = 0, token_types = 0;
  float norm_epsilon = 1e-12F;
  Activation activation = Activation::kGelu;
  uint32_t pad_id = 0;
  Matrix word_embeddings, position_embeddings, token_type_embeddings;
  NormWeights embeddings_norm;
  std::vector<LayerWeights> encoder;
  std::optional<LinearWeights> pooler;
  HfTokenizer tokenizer;
  bool has_tokenizer = false;
  /// 32 hexadecimal digits: XXH3-128 over config, tensor values (as float32) and tokenizer, in one fixed order; see docs/bundle-format.md.
  std::string fingerprint;
  // What the base's own config.json says of a head, for `none` tasks that keep one.
  std::vector<std::string> id2label;
  std::string problem_type;
  std::string architecture;  // "BertModel", "BertForSequenceClassification", ...; empty where config.json does not say
  /// The directory's own `classifier` or `qa_outputs`, where it has one.
  std::optional<LinearWeights> own_head;

  /// The weights at a linear site (attention.*, ffn.*, pooler), or null.
  const LinearWeights* linear(Site site) const;
  LinearWeights* linear(Site site);
  /// The parameters at a norm site, or null.
  const NormWeights* norm(Site site) const;
};

}  // namespace pets::converter
