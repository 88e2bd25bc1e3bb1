// The base and the tasks as the engine follows them: raw pointers into mapped segments, resolved once when a file is loaded.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/activation/activation.h"
#include "kernels/bottleneck/bottleneck.h"
#include "kernels/gemm/linear.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/strip.h"
#include "pets/status.h"
#include "pets/types.h"
#include "runtime/bundle/bundle_file.h"
#include "runtime/memory/arena.h"
#include "schema/bundle_generated.h"

namespace pets::engine {

struct LinearWeights {
  const void* panels = nullptr;  ///< of [out, in], in the layout of `type` (gemm/panel_layout.h)
  kernels::WeightType type = kernels::WeightType::kFloat32;
  bool row_major = false;        ///< `panels` are none: [out][in], as a GPU reads them
  const float* bias = nullptr;   ///< [out]
  const float* scale = nullptr;  ///< [out], kInt8 only
  uint32_t out = 0, in = 0;

  /// What linear_panel needs to know of one panel; x, y and the starts are the caller's.
  kernels::LinearPanel panel(size_t index) const {
    const size_t values = kernels::panel_offset(kernels::padded_inputs(type, in), index);
    kernels::LinearPanel call;
    call.panel = static_cast<const std::byte*>(panels) + values * kernels::weight_bytes(type);
    call.type = type;
    call.width = kernels::panel_width(out, index);
    call.k = in;
    return call;
  }
};

struct NormWeights {
  const float* gamma = nullptr;
  const float* beta = nullptr;
};

/// The linear sites of a layer, in execution order; index into LayerWeights::linear and TaskLayer::linear.
enum LinearIndex : uint32_t { kQuery, kKey, kValue, kAttentionOutput, kUp, kDown, kLinearSites };
/// The two sublayers; index of norms and bottlenecks.
enum SublayerIndex : uint32_t { kAttentionSublayer, kFfnSublayer, kSublayers };

struct LayerWeights {
  LinearWeights linear[kLinearSites];
  NormWeights norm[kSublayers];
};

struct BaseWeights {
  uint32_t hidden = 0, layers = 0, heads = 0, head_size = 0, intermediate = 0, vocabulary = 0, positions = 0, token_types = 0;
  kernels::WeightType linear_type = kernels::WeightType::kFloat32;  ///< of all linears of the layers
  kernels::WeightType table_type = kernels::WeightType::kFloat32;   ///< of the embedding tables: not kInt8
  bool row_major = false;                                           ///< of all linears of the layers: packed for a GPU
  float norm_epsilon = 0;
  kernels::Activation activation = kernels::Activation::kGelu;
  const void* word = nullptr;        ///< `table_type` [vocabulary, hidden]
  const void* position = nullptr;    ///< [positions, hidden]
  const void* token_type = nullptr;  ///< [token_types, hidden]
  NormWeights embeddings_norm;
  /// Whether an instruction set may read the layers' weights by dot products.
  bool dot_products() const { return linear_type == kernels::WeightType::kBFloat16 || linear_type == kernels::WeightType::kInt8; }
  const LayerWeights* layer = nullptr;  ///< [layers]
  LinearWeights pooler;                 ///< panels null where the base has none
  std::span<const std::byte> segment;   ///< of the bundle, which everything above points into, but what was repacked
};

/// PET operators of one task at one linear site; what is absent is null.
struct LinearOperators {
  const float* bias = nullptr;
  const float* low_rank_a = nullptr;  ///< kPanels16 of [rank, in]
  const float* low_rank_b = nullptr;  ///< kPanels16 of [out, rank], scale folded in
  uint32_t rank = 0;
  const uint32_t* sparse_column_start = nullptr;
  const uint16_t* sparse_rows = nullptr;
  const float* sparse_values = nullptr;
  const uint32_t* mask = nullptr;  ///< kBitPlanes16
  const float* scale_input = nullptr;
  const float* scale_output = nullptr;

  /// Whether any of them reads the site's input in float32, whatever the base's weights are.
  bool reads_floats() const { return rank != 0 || sparse_values != nullptr || scale_input != nullptr; }
};

/// What a task changes in one layer; null where it changes nothing.
struct TaskLayer {
  const LinearOperators* linear[kLinearSites] = {};
  const NormWeights* norm[kSublayers] = {};
  const kernels::Bottleneck* bottleneck[kSublayers] = {};
};

struct ReplacedRows {
  const uint32_t* rows = nullptr;  ///< ascending
  const float* values = nullptr;   ///< [count, hidden]
  uint32_t count = 0;
};

struct HeadLayerWeights {
  LinearWeights linear;
  kernels::Activation activation = kernels::Activation::kNone;
};

struct HeadWeights {
  schema::HeadType type = schema::HeadType::kUnknown;
  schema::Pooling pooling = schema::Pooling::kUnknown;
  const HeadLayerWeights* layer = nullptr;
  uint32_t layers = 0;
  uint32_t outputs = 0;    ///< of the last layer; hidden where there is none
  uint32_t max_width = 0;  ///< the widest layer's outputs
  bool normalize = false;

  /// The widest layer but the last; 0 where there is none.
  uint32_t inner_width() const {
    uint32_t width = 0;
    for (uint32_t i = 0; i + 1 < layers; ++i) width = std::max(width, layer[i].linear.out);
    return width;
  }
  /// Whether the head answers for every token, not once a query.
  bool reads_tokens() const { return pooling == schema::Pooling::kTokens; }
  /// Whether the encoder's result is read at each query's first token alone.
  bool reads_first_row() const { return pooling == schema::Pooling::kCls || pooling == schema::Pooling::kPooler; }
};

struct TaskWeights {
  const TaskLayer* layer = nullptr;  ///< [layers]
  ReplacedRows embedding[3];         ///< word, position, token_type
  NormWeights embeddings_norm;       ///< gamma null: the base's
  HeadWeights head;
  bool masked = false;  ///< whether any linear has a mask
  static constexpr uint32_t kNoLayer = UINT32_MAX;
  /// The first layer that differs from the base's, counting what a task changes before layer 0 as layer 0's; kNoLayer where only the head
  /// is the task's own. Below it, the task's rows are those of the base, and of any other such task, with the same tokens.
  uint32_t first_changed_layer = 0;
};

/// The largest of what tasks need at run time: what a session's arena is planned by.
struct TaskLimits {
  uint32_t rank = 0;           ///< of low_rank
  uint32_t inner = 0;          ///< of bottlenecks
  uint32_t head_width = 0;     ///< widest head layer
  uint32_t query_outputs = 0;  ///< logits a query
  uint32_t token_outputs = 0;  ///< logits a token
  uint32_t max_length = 0;

  void include(const TaskLimits& other);
  /// True where everything here is within `capacity`.
  bool within(const TaskLimits& capacity) const;
};

/// Resolves a validated base into arrays of `arena` (or only counts them). For the CPU, what was packed for a GPU is repacked there
/// (repack.h).
BaseWeights resolve_base(const bundle::BaseSegment& segment, memory::Arena& arena, Backend backend = Backend::kCpu);
/// Resolves a validated task. A norm site where only gamma or beta is the task's own takes the other from the base.
TaskWeights resolve_task(const bundle::TaskSegment& segment, const BaseWeights& base, memory::Arena& arena);
/// From the metadata alone.
TaskLimits limits_of(const schema::Task& task, uint32_t hidden);

}  // namespace pets::engine
