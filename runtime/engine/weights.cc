#include "runtime/engine/weights.h"

#include <algorithm>
#include <new>

#include "runtime/engine/repack.h"
#include "schema/site.h"

namespace pets::engine {
namespace {

using bundle::tensor_as;
using Bytes = std::span<const std::byte>;

kernels::WeightType weight_type(schema::DataType type) {
  switch (type) {
    case schema::DataType::kFloat16:
      return kernels::WeightType::kFloat16;
    case schema::DataType::kBFloat16:
      return kernels::WeightType::kBFloat16;
    case schema::DataType::kInt8:
      return kernels::WeightType::kInt8;
    default:  // validated: kFloat32
      return kernels::WeightType::kFloat32;
  }
}

LinearWeights resolve_linear(const schema::Linear* linear, Bytes bytes) {
  LinearWeights weights;
  if (linear == nullptr) return weights;
  const schema::Tensor& tensor = *linear->weight();
  weights.panels = bundle::tensor_data(tensor, bytes);
  weights.type = weight_type(tensor.dtype());
  weights.row_major = tensor.layout() == schema::Layout::kPlain;
  weights.out = static_cast<uint32_t>(tensor.shape()->Get(0));
  weights.in = static_cast<uint32_t>(tensor.shape()->Get(1));
  weights.bias = tensor_as<float>(linear->bias(), bytes);
  weights.scale = tensor_as<float>(linear->scale(), bytes);
  return weights;
}

NormWeights resolve_norm(const schema::Norm* norm, Bytes bytes) {
  if (norm == nullptr) return {};
  return {tensor_as<float>(norm->gamma(), bytes), tensor_as<float>(norm->beta(), bytes)};
}

uint32_t dimension(const schema::Tensor* tensor, uint32_t index) { return static_cast<uint32_t>(tensor->shape()->Get(index)); }

/// Where an operator acts inside TaskLayer.
uint32_t linear_index(schema::SiteKind kind) {
  switch (kind) {
    case schema::SiteKind::kAttentionQuery:
      return kQuery;
    case schema::SiteKind::kAttentionKey:
      return kKey;
    case schema::SiteKind::kAttentionValue:
      return kValue;
    case schema::SiteKind::kAttentionOutput:
      return kAttentionOutput;
    case schema::SiteKind::kFfnUp:
      return kUp;
    default:
      return kDown;
  }
}

void add_linear_operator(const schema::Operator& source, Bytes bytes, LinearOperators& target) {
  switch (source.body_type()) {
    case schema::OperatorBody::Bias:
      target.bias = tensor_as<float>(source.body_as_Bias()->value(), bytes);
      break;
    case schema::OperatorBody::LowRank: {
      const schema::LowRank& low_rank = *source.body_as_LowRank();
      target.low_rank_a = tensor_as<float>(low_rank.a(), bytes);
      target.low_rank_b = tensor_as<float>(low_rank.b(), bytes);
      target.rank = dimension(low_rank.a(), 0);
      break;
    }
    case schema::OperatorBody::Sparse: {
      const schema::Sparse& sparse = *source.body_as_Sparse();
      target.sparse_column_start = tensor_as<uint32_t>(sparse.column_start(), bytes);
      target.sparse_rows = tensor_as<uint16_t>(sparse.rows(), bytes);
      target.sparse_values = tensor_as<float>(sparse.values(), bytes);
      break;
    }
    case schema::OperatorBody::Mask:
      target.mask = tensor_as<uint32_t>(source.body_as_Mask()->bits(), bytes);
      break;
    case schema::OperatorBody::Scale:
      target.scale_input = tensor_as<float>(source.body_as_Scale()->input(), bytes);
      target.scale_output = tensor_as<float>(source.body_as_Scale()->output(), bytes);
      break;
    default:
      break;
  }
}

kernels::NormParameters adapter_norm(const schema::Norm* norm, Bytes bytes) {
  constexpr float kAdapterNormEpsilon = 1e-5F;  // torch.nn.LayerNorm's default: AdapterHub's ln_before and ln_after do not use the base's
  const NormWeights weights = resolve_norm(norm, bytes);
  return {weights.gamma, weights.beta, kAdapterNormEpsilon};
}

kernels::Bottleneck resolve_bottleneck(const schema::Bottleneck& source, Bytes bytes) {
  kernels::Bottleneck target;
  target.down = tensor_as<float>(source.down()->weight(), bytes);
  target.down_bias = tensor_as<float>(source.down()->bias(), bytes);
  target.up = tensor_as<float>(source.up()->weight(), bytes);
  target.up_bias = tensor_as<float>(source.up()->bias(), bytes);
  target.inner = dimension(source.down()->weight(), 0);
  target.activation = static_cast<kernels::Activation>(source.activation());
  target.parallel = source.parallel();
  target.original_norm_before = source.original_norm_before();
  target.original_norm_after = source.original_norm_after();
  target.residual_before_norm = static_cast<kernels::ResidualBeforeNorm>(source.residual_before_norm());
  target.adapter_residual_before_norm = source.adapter_residual_before_norm();
  target.norm_before = adapter_norm(source.norm_before(), bytes);
  target.norm_after = adapter_norm(source.norm_after(), bytes);
  target.scaling = source.scaling();
  target.channel_scaling = tensor_as<float>(source.channel_scaling(), bytes);
  return target;
}

NormWeights task_norm(const schema::TaskNorm& source, Bytes bytes, const NormWeights& base) {
  NormWeights norm = base;
  if (source.gamma() != nullptr) norm.gamma = tensor_as<float>(source.gamma(), bytes);
  if (source.beta() != nullptr) norm.beta = tensor_as<float>(source.beta(), bytes);
  return norm;
}

HeadWeights resolve_head(const schema::Head& source, const BaseWeights& base, Bytes bytes, memory::Arena& arena) {
  HeadWeights head;
  head.type = source.type();
  head.pooling = source.pooling();
  head.normalize = source.normalize();
  head.layers = source.layers() == nullptr ? 0 : source.layers()->size();
  head.outputs = base.hidden;
  head.max_width = base.hidden;
  auto* layers = arena.array<HeadLayerWeights>(head.layers);
  head.layer = layers;
  for (uint32_t i = 0; i < head.layers; ++i) {
    const schema::HeadLayer& layer = *source.layers()->Get(i);
    head.outputs = dimension(layer.linear()->weight(), 0);
    head.max_width = std::max(head.max_width, head.outputs);
    if (layers != nullptr)
      ::new (&layers[i]) HeadLayerWeights{resolve_linear(layer.linear(), bytes), static_cast<kernels::Activation>(layer.activation())};
  }
  return head;
}

/// How many of each kind of table a task needs at most.
struct OperatorCounts {
  uint32_t linear = 0, norm = 0, bottleneck = 0;
};

OperatorCounts count_operators(const schema::Task& task) {
  OperatorCounts counts;
  if (task.operators() == nullptr) return counts;
  for (const schema::Operator* op : *task.operators()) {
    if (schema::is_linear_site(op->site())) ++counts.linear;
    if (op->body_type() == schema::OperatorBody::TaskNorm) ++counts.norm;
    if (op->body_type() == schema::OperatorBody::Bottleneck) ++counts.bottleneck;
  }
  return counts;
}

SublayerIndex sublayer_index(schema::SiteKind kind) {
  return kind == schema::SiteKind::kAttention || kind == schema::SiteKind::kAttentionNorm ? kAttentionSublayer : kFfnSublayer;
}

}  // namespace

void TaskLimits::include(const TaskLimits& other) {
  rank = std::max(rank, other.rank);
  inner = std::max(inner, other.inner);
  head_width = std::max(head_width, other.head_width);
  query_outputs = std::max(query_outputs, other.query_outputs);
  token_outputs = std::max(token_outputs, other.token_outputs);
  max_length = std::max(max_length, other.max_length);
}

bool TaskLimits::within(const TaskLimits& capacity) const {
  TaskLimits both = capacity;
  both.include(*this);
  return both.rank == capacity.rank && both.inner == capacity.inner && both.head_width == capacity.head_width &&
         both.query_outputs == capacity.query_outputs && both.token_outputs == capacity.token_outputs &&
         both.max_length == capacity.max_length;
}

BaseWeights resolve_base(const bundle::BaseSegment& segment, memory::Arena& arena, Backend backend) {
  const schema::Base& source = *segment.base;
  const Bytes bytes = segment.bytes;
  BaseWeights base;
  base.hidden = source.hidden();
  base.layers = source.layers();
  base.heads = source.heads();
  base.head_size = base.hidden / base.heads;
  base.intermediate = source.intermediate();
  base.vocabulary = source.vocabulary();
  base.positions = source.positions();
  base.token_types = source.token_types();
  base.norm_epsilon = source.norm_epsilon();
  base.activation = static_cast<kernels::Activation>(source.activation());
  base.table_type = weight_type(source.word_embeddings()->dtype());
  base.word = bundle::tensor_data(*source.word_embeddings(), bytes);
  base.position = bundle::tensor_data(*source.position_embeddings(), bytes);
  base.token_type = bundle::tensor_data(*source.token_type_embeddings(), bytes);
  base.embeddings_norm = resolve_norm(source.embeddings_norm(), bytes);
  base.linear_type = weight_type(source.encoder()->Get(0)->query()->weight()->dtype());
  base.row_major = source.encoder()->Get(0)->query()->weight()->layout() == schema::Layout::kPlain;
  base.segment = bytes;
  base.pooler = resolve_linear(source.pooler(), bytes);
  auto* layers = arena.array<LayerWeights>(base.layers);
  base.layer = layers;
  for (uint32_t n = 0; layers != nullptr && n < base.layers; ++n) {
    const schema::Layer& layer = *source.encoder()->Get(n);
    LayerWeights weights;
    weights.linear[kQuery] = resolve_linear(layer.query(), bytes);
    weights.linear[kKey] = resolve_linear(layer.key(), bytes);
    weights.linear[kValue] = resolve_linear(layer.value(), bytes);
    weights.linear[kAttentionOutput] = resolve_linear(layer.attention_output(), bytes);
    weights.linear[kUp] = resolve_linear(layer.up(), bytes);
    weights.linear[kDown] = resolve_linear(layer.down(), bytes);
    weights.norm[kAttentionSublayer] = resolve_norm(layer.attention_norm(), bytes);
    weights.norm[kFfnSublayer] = resolve_norm(layer.ffn_norm(), bytes);
    ::new (&layers[n]) LayerWeights(weights);
  }
  if (backend == Backend::kCpu && base.row_major) repack_for_cpu(base, layers, arena);
  return base;
}

TaskWeights resolve_task(const bundle::TaskSegment& segment, const BaseWeights& base, memory::Arena& arena) {
  const schema::Task& source = *segment.task;
  const Bytes bytes = segment.bytes;
  TaskWeights task;
  task.head = resolve_head(*source.head(), base, bytes, arena);
  const OperatorCounts counts = count_operators(source);
  auto* layers = arena.array<TaskLayer>(base.layers);
  auto* linears = arena.array<LinearOperators>(counts.linear);
  auto* norms = arena.array<NormWeights>(counts.norm);
  auto* bottlenecks = arena.array<kernels::Bottleneck>(counts.bottleneck);
  task.layer = layers;
  task.first_changed_layer = TaskWeights::kNoLayer;
  if (arena.counting() || source.operators() == nullptr) return task;
  for (const schema::Operator* op : *source.operators()) {
    const schema::SiteKind site = op->site();
    task.first_changed_layer = std::min<uint32_t>(task.first_changed_layer, schema::is_layer_site(site) ? op->layer() : 0);
    if (schema::is_linear_site(site)) {
      const LinearOperators*& slot = layers[op->layer()].linear[linear_index(site)];
      if (slot == nullptr) slot = linears++;
      add_linear_operator(*op, bytes, const_cast<LinearOperators&>(*slot));
      task.masked = task.masked || op->body_as_Mask() != nullptr;
    } else if (site == schema::SiteKind::kEmbeddingsNorm) {
      task.embeddings_norm = task_norm(*op->body_as_TaskNorm(), bytes, base.embeddings_norm);
    } else if (schema::is_norm_site(site)) {
      const SublayerIndex sublayer = sublayer_index(site);
      *norms = task_norm(*op->body_as_TaskNorm(), bytes, base.layer[op->layer()].norm[sublayer]);
      layers[op->layer()].norm[sublayer] = norms++;
    } else if (schema::is_bottleneck_site(site)) {
      *bottlenecks = resolve_bottleneck(*op->body_as_Bottleneck(), bytes);
      layers[op->layer()].bottleneck[sublayer_index(site)] = bottlenecks++;
    } else if (schema::is_embedding_site(site)) {
      const schema::ReplacedRows& rows = *op->body_as_ReplacedRows();
      const auto table = static_cast<uint32_t>(site) - static_cast<uint32_t>(schema::SiteKind::kEmbeddingsWord);
      task.embedding[table] = {tensor_as<uint32_t>(rows.rows(), bytes), tensor_as<float>(rows.values(), bytes), dimension(rows.rows(), 0)};
    }
  }
  return task;
}

TaskLimits limits_of(const schema::Task& task, uint32_t hidden) {
  TaskLimits limits;
  limits.max_length = task.max_length();
  if (task.operators() != nullptr) {
    for (const schema::Operator* op : *task.operators()) {
      if (const auto* low_rank = op->body_as_LowRank()) limits.rank = std::max(limits.rank, dimension(low_rank->a(), 0));
      if (const auto* bottleneck = op->body_as_Bottleneck())
        limits.inner = std::max(limits.inner, dimension(bottleneck->down()->weight(), 0));
    }
  }
  uint32_t outputs = hidden;
  limits.head_width = hidden;
  if (task.head()->layers() != nullptr) {
    for (const schema::HeadLayer* layer : *task.head()->layers()) {
      outputs = dimension(layer->linear()->weight(), 0);
      limits.head_width = std::max(limits.head_width, outputs);
    }
  }
  (task.head()->pooling() == schema::Pooling::kTokens ? limits.token_outputs : limits.query_outputs) = outputs;
  return limits;
}

}  // namespace pets::engine
