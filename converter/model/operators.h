// What a reader makes of a PET, and what the writer packs: PET operators at sites with plain row-major tensors, and a head.
// docs/operators-format.md defines every operator; section and field names are the same here.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "schema/bundle_generated.h"
#include "schema/site.h"

namespace pets::converter {

using schema::Activation;
using schema::HeadType;
using schema::Pooling;
using schema::Site;
using schema::SiteKind;

/// Row-major [rows][columns]; a vector has columns == 1... its length in `rows`.
struct Matrix {
  uint64_t rows = 0, columns = 0;
  std::vector<float> values;
};

/// The task's own bias; it replaces the base's.
struct BiasOperator {
  std::vector<float> value;  // [out]
};
/// The task's own LayerNorm parameters; an empty one is the base's.
struct NormOperator {
  std::vector<float> gamma, beta;  // [hidden]
};
/// W + scale * b a.
struct LowRankOperator {
  Matrix a;  // [r, in]
  Matrix b;  // [out, r]
  double scale = 1;
};
/// W + S. Sorted by (out, in), no pair twice.
struct SparseOperator {
  std::vector<uint32_t> out, in;
  std::vector<float> values;
};
/// Table rows that are replaced, ascending, none twice.
struct ReplacedRowsOperator {
  std::vector<uint32_t> rows;
  Matrix values;  // [rows, hidden]
};
/// W o M: bit i % 8 (least significant first) of byte i / 8 of an output's row keeps input i.
struct MaskOperator {
  uint64_t out = 0, in = 0;
  std::vector<uint8_t> bits;  // [out][ceil(in / 8)]
};
/// Per-channel factors; an empty one is absent. `output` multiplies the product before the bias is added.
struct ScaleOperator {
  std::vector<float> input, output;
};
struct BottleneckOperator {
  Matrix down;                   // [d, hidden]
  std::vector<float> down_bias;  // [d]
  Matrix up;                     // [hidden, d]
  std::vector<float> up_bias;    // [hidden]
  Activation activation = Activation::kRelu;
  bool parallel = false;
  bool original_norm_before = false, original_norm_after = true;
  schema::ResidualBeforeNorm residual_before_norm = schema::ResidualBeforeNorm::kBase;
  bool adapter_residual_before_norm = false;
  std::optional<NormOperator> norm_before, norm_after;
  float scaling = 1;
  std::vector<float> channel_scaling;  // [hidden], or empty
};

struct Operator {
  Site site;
  std::variant<BiasOperator, NormOperator, LowRankOperator, SparseOperator, ReplacedRowsOperator, MaskOperator, ScaleOperator,
               BottleneckOperator>
      body;
};

struct HeadLayer {
  Matrix weight;            // [out, in]
  std::vector<float> bias;  // [out], zeros where the source has none
  Activation activation = Activation::kNone;
};

struct HeadSpec {
  HeadType type = HeadType::kUnknown;
  Pooling pooling = Pooling::kUnknown;
  std::vector<HeadLayer> layers;  // empty for an embedding without a projection
  bool normalize = false;
  std::vector<std::string> labels;
};

/// One task, as read. `operators` holds at most one of a kind at a site.
struct PetTask {
  std::string name;
  std::string source;  // for people: "peft LORA", "adapterhub seq_bn", "checkpoint: bias, norm"
  uint32_t max_length = 0;
  std::vector<Operator> operators;
  HeadSpec head;
};

/// The head that the manifest asks for; what it leaves open the reader takes from the source.
struct HeadRequest {
  HeadType type = HeadType::kUnknown;   // kUnknown: auto
  Pooling pooling = Pooling::kUnknown;  // kUnknown: not given
  std::optional<bool> normalize;
  std::vector<std::string> labels;  // empty: not given
};

}  // namespace pets::converter
