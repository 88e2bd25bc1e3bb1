// Packs a task: its operators as the kernels read them, its head, its golden examples.
#include <cmath>
#include <limits>
#include <optional>

#include "converter/bundle/bundle_writer.h"
#include "converter/bundle/pack_tensors.h"
#include "kernels/mask/mask.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

using flatbuffers::Offset;
using schema::OperatorBody;

/// W + scale * b a is stored as W + b' a: every b' is rounded once, from the double product.
Result<Matrix> fold_scale(const LowRankOperator& low_rank) {
  Matrix folded = low_rank.b;
  for (float& value : folded.values) {
    value = static_cast<float>(static_cast<double>(value) * low_rank.scale);
    if (!std::isfinite(value))
      return Status::error(ErrorCode::kInvalidArgument, "low_rank.b times its scale %g is not finite", low_rank.scale);
  }
  return folded;
}

/// An operator whose tensors are in the segment: the handles of its tensors in the order of its kind's fields, absent ones empty.
struct PackedOperator {
  const Operator* source = nullptr;
  std::vector<std::optional<TensorHandle>> tensors;
};

class TaskSegmentWriter {
 public:
  TaskSegmentWriter(const BaseModel& base, const PetTask& task, const std::vector<Golden>& goldens, Precision precision)
      : base_(base), task_(task), goldens_(goldens), precision_(precision) {}

  Result<SegmentImage> write() {
    for (const Operator& op : task_.operators) {
      PackedOperator& packed = operators_.emplace_back();
      packed.source = &op;
      const Status status = std::visit([&](const auto& body) { return add(body, op.site, packed); }, op.body);
      if (!status) return Status::error(status.code(), "%s: %s", schema::site_name(op.site).c_str(), status.c_str());
    }
    for (const HeadLayer& layer : task_.head.layers)
      head_.push_back({add_panels(builder_, layer.weight), add_vector(builder_, layer.bias)});
    return builder_.finish(task_.name, [this] { write_metadata(); });
  }

 private:
  // ---- tensors
  Status add(const BiasOperator& bias, Site, PackedOperator& packed) {
    packed.tensors = {add_vector(builder_, bias.value)};
    return {};
  }
  Status add(const NormOperator& norm, Site, PackedOperator& packed) {
    packed.tensors = {add_optional(norm.gamma), add_optional(norm.beta)};
    return {};
  }
  Status add(const LowRankOperator& low_rank, Site, PackedOperator& packed) {
    PETS_ASSIGN_OR_RETURN(const Matrix b, fold_scale(low_rank));
    const TensorHandle a = add_panels(builder_, low_rank.a);
    packed.tensors = {a, add_panels(builder_, b)};
    return {};
  }
  Status add(const SparseOperator& sparse, Site site, PackedOperator& packed) {
    const Matrix& weight = base_.linear(site)->weight;
    constexpr uint64_t kMaxInputs = uint64_t{std::numeric_limits<uint16_t>::max()} + 1;
    if (weight.columns > kMaxInputs) {
      return Status::error(ErrorCode::kUnsupported, "a sparse operator takes at most %zu inputs, found %zu",
                           static_cast<size_t>(kMaxInputs), static_cast<size_t>(weight.columns));
    }
    std::vector<uint32_t> column_start(weight.rows + 1);
    for (const uint32_t out : sparse.out) ++column_start[out + 1];
    for (size_t out = 0; out < weight.rows; ++out) column_start[out + 1] += column_start[out];
    std::vector<uint16_t> rows(sparse.in.begin(), sparse.in.end());
    const TensorHandle starts = add_u32(builder_, column_start);
    const TensorHandle inputs = builder_.add(std::span<const uint16_t>(rows), schema::DataType::kUInt16, {rows.size()});
    packed.tensors = {starts, inputs, add_vector(builder_, sparse.values)};
    return {};
  }
  Status add(const ReplacedRowsOperator& replaced, Site, PackedOperator& packed) {
    const TensorHandle rows = add_u32(builder_, replaced.rows);
    packed.tensors = {rows, add_table(builder_, replaced.values)};
    return {};
  }
  Status add(const MaskOperator& mask, Site, PackedOperator& packed) {
    std::vector<uint32_t> planes((mask.out + kernels::kPanelColumns - 1) / kernels::kPanelColumns * kernels::bit_plane_words(mask.in));
    kernels::pack_bit_planes16(mask.bits.data(), mask.out, mask.in, planes.data());
    packed.tensors = {
        builder_.add(std::span<const uint32_t>(planes), schema::DataType::kUInt32, {mask.out, mask.in}, schema::Layout::kBitPlanes16)};
    return {};
  }
  Status add(const ScaleOperator& scale, Site, PackedOperator& packed) {
    packed.tensors = {add_optional(scale.input), add_optional(scale.output)};
    return {};
  }
  Status add(const BottleneckOperator& bottleneck, Site, PackedOperator& packed) {
    packed.tensors.emplace_back(add_panels(builder_, bottleneck.down));
    packed.tensors.emplace_back(add_vector(builder_, bottleneck.down_bias));
    packed.tensors.emplace_back(add_panels(builder_, bottleneck.up));
    packed.tensors.emplace_back(add_vector(builder_, bottleneck.up_bias));
    add_inner_norm(bottleneck.norm_before, packed);
    add_inner_norm(bottleneck.norm_after, packed);
    packed.tensors.push_back(add_optional(bottleneck.channel_scaling));
    return {};
  }

  std::optional<TensorHandle> add_optional(const std::vector<float>& values) {
    return values.empty() ? std::optional<TensorHandle>() : add_vector(builder_, values);
  }
  /// Two entries: gamma and beta. A norm that gives only one of them has the identity for the other.
  void add_inner_norm(const std::optional<NormOperator>& norm, PackedOperator& packed) {
    if (!norm) {
      packed.tensors.insert(packed.tensors.end(), 2, std::nullopt);
      return;
    }
    const auto or_constant = [&](const std::vector<float>& values, float value) {
      return add_vector(builder_, values.empty() ? std::vector<float>(base_.hidden, value) : values);
    };
    packed.tensors.emplace_back(or_constant(norm->gamma, 1.0F));
    packed.tensors.emplace_back(or_constant(norm->beta, 0.0F));
  }

  // ---- metadata
  flatbuffers::FlatBufferBuilder& metadata() { return builder_.metadata(); }

  std::vector<Offset<schema::Tensor>> describe_all(const PackedOperator& packed) {
    std::vector<Offset<schema::Tensor>> tensors;
    for (const auto& handle : packed.tensors) tensors.push_back(handle ? builder_.describe(*handle) : Offset<schema::Tensor>());
    return tensors;
  }

  Offset<schema::Operator> describe(const PackedOperator& packed) {
    const auto tensors = describe_all(packed);
    OperatorBody type = OperatorBody::NONE;
    const Offset<void> body = std::visit([&](const auto& source) { return body_of(source, tensors, &type); }, packed.source->body);
    return schema::CreateOperator(metadata(), packed.source->site.kind, packed.source->site.layer, type, body);
  }

  using Tensors = std::vector<Offset<schema::Tensor>>;
  Offset<void> body_of(const BiasOperator&, const Tensors& t, OperatorBody* type) {
    *type = OperatorBody::Bias;
    return schema::CreateBias(metadata(), t[0]).Union();
  }
  Offset<void> body_of(const NormOperator&, const Tensors& t, OperatorBody* type) {
    *type = OperatorBody::TaskNorm;
    return schema::CreateTaskNorm(metadata(), t[0], t[1]).Union();
  }
  Offset<void> body_of(const LowRankOperator&, const Tensors& t, OperatorBody* type) {
    *type = OperatorBody::LowRank;
    return schema::CreateLowRank(metadata(), t[0], t[1]).Union();
  }
  Offset<void> body_of(const SparseOperator&, const Tensors& t, OperatorBody* type) {
    *type = OperatorBody::Sparse;
    return schema::CreateSparse(metadata(), t[0], t[1], t[2]).Union();
  }
  Offset<void> body_of(const ReplacedRowsOperator&, const Tensors& t, OperatorBody* type) {
    *type = OperatorBody::ReplacedRows;
    return schema::CreateReplacedRows(metadata(), t[0], t[1]).Union();
  }
  Offset<void> body_of(const MaskOperator&, const Tensors& t, OperatorBody* type) {
    *type = OperatorBody::Mask;
    return schema::CreateMask(metadata(), t[0]).Union();
  }
  Offset<void> body_of(const ScaleOperator&, const Tensors& t, OperatorBody* type) {
    *type = OperatorBody::Scale;
    return schema::CreateScale(metadata(), t[0], t[1]).Union();
  }
  Offset<void> body_of(const BottleneckOperator& b, const Tensors& t, OperatorBody* type) {
    *type = OperatorBody::Bottleneck;
    const auto down = schema::CreateLinear(metadata(), t[0], t[1]);
    const auto up = schema::CreateLinear(metadata(), t[2], t[3]);
    Offset<schema::Norm> norm_before, norm_after;
    if (b.norm_before) norm_before = schema::CreateNorm(metadata(), t[4], t[5]);
    if (b.norm_after) norm_after = schema::CreateNorm(metadata(), t[6], t[7]);
    return schema::CreateBottleneck(metadata(), down, up, b.activation, b.parallel, b.original_norm_before, b.original_norm_after,
                                    b.residual_before_norm, b.adapter_residual_before_norm, norm_before, norm_after, b.scaling, t[8])
        .Union();
  }

  Offset<schema::Head> describe_head() {
    const HeadSpec& head = task_.head;
    std::vector<Offset<schema::HeadLayer>> layers;
    for (size_t i = 0; i < head_.size(); ++i) {
      const auto weight = builder_.describe(head_[i].weight);
      const auto bias = builder_.describe(head_[i].bias);
      layers.push_back(schema::CreateHeadLayer(metadata(), schema::CreateLinear(metadata(), weight, bias), head.layers[i].activation));
    }
    const auto labels = metadata().CreateVectorOfStrings(label_names());
    const auto layer_vector = metadata().CreateVector(layers);
    return schema::CreateHead(metadata(), head.type, head.pooling, layer_vector, head.normalize, labels);
  }

  /// Classes without names are LABEL_0, LABEL_1, ... as in transformers.
  std::vector<std::string> label_names() const {
    const HeadSpec& head = task_.head;
    const bool named = head.type == HeadType::kSequenceClassification || head.type == HeadType::kMultiLabelClassification ||
                       head.type == HeadType::kTokenClassification;
    if (!named || !head.labels.empty() || head.layers.empty()) return head.labels;
    std::vector<std::string> names;
    for (uint64_t i = 0; i < head.layers.back().weight.rows; ++i) names.push_back("LABEL_" + std::to_string(i));
    return names;
  }

  Offset<schema::GoldenExample> describe(const Golden& golden) {
    Offset<flatbuffers::String> text, text_pair;
    Offset<flatbuffers::Vector<int32_t>> ids;
    if (golden.ids.empty()) {
      text = metadata().CreateString(golden.text);
      if (golden.has_text_pair) text_pair = metadata().CreateString(golden.text_pair);
    } else {
      ids = metadata().CreateVector(golden.ids);
    }
    const auto logits = metadata().CreateVector(golden.logits);
    return schema::CreateGoldenExample(metadata(), text, text_pair, ids, logits);
  }

  void write_metadata() {
    const auto name = metadata().CreateString(task_.name);
    const auto fingerprint = metadata().CreateString(base_.fingerprint);
    const auto source = metadata().CreateString(task_.source);
    std::vector<Offset<schema::Operator>> operators;
    for (const PackedOperator& packed : operators_) operators.push_back(describe(packed));
    const auto operator_vector = metadata().CreateVector(operators);
    const auto head = describe_head();
    std::vector<Offset<schema::GoldenExample>> goldens;
    for (const Golden& golden : goldens_) goldens.push_back(describe(golden));
    const auto golden_vector = metadata().CreateVector(goldens);
    metadata().Finish(schema::CreateTask(metadata(), name, fingerprint, source, task_.max_length, operator_vector, head, golden_vector,
                                         goldens_.empty() ? schema::DataType::kUnknown : data_type_of(precision_)));
  }

  const BaseModel& base_;
  const PetTask& task_;
  const std::vector<Golden>& goldens_;
  Precision precision_;
  SegmentBuilder builder_;
  std::vector<PackedOperator> operators_;
  std::vector<LinearHandles> head_;
};

}  // namespace

Result<SegmentImage> make_task_segment(const BaseModel& base, const PetTask& task, const std::vector<Golden>& goldens,
                                       Precision precision) {
  return TaskSegmentWriter(base, task, goldens, precision).write();
}

}  // namespace pets::converter
