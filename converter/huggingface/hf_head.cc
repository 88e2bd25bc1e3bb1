#include "converter/huggingface/hf_head.h"

#include "converter/model/head_request.h"
#include "converter/model/names.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

struct ArchitectureTask {
  std::string_view name;
  HfTask task;
};
/// Language-model classes end in a head over the vocabulary, which is no task: they count as their encoder.
constexpr ArchitectureTask kArchitectures[] = {
    {"BertModel", HfTask::kEncoder},
    {"BertForMaskedLM", HfTask::kEncoder},
    {"BertForPreTraining", HfTask::kEncoder},
    {"BertForSequenceClassification", HfTask::kSequence},
    {"BertForTokenClassification", HfTask::kTokens},
    {"BertForQuestionAnswering", HfTask::kQuestionAnswering},
};

HfTask task_of_type(HeadType type) {
  switch (type) {
    case HeadType::kSequenceClassification:
    case HeadType::kMultiLabelClassification:
    case HeadType::kRegression:
      return HfTask::kSequence;
    case HeadType::kTokenClassification:
      return HfTask::kTokens;
    case HeadType::kQuestionAnswering:
      return HfTask::kQuestionAnswering;
    case HeadType::kEmbedding:
      return HfTask::kEncoder;
    default:
      return HfTask::kUnknown;
  }
}

const char* describe(HfTask task) {
  if (task == HfTask::kSequence) return "a sequence classification model";
  return task == HfTask::kTokens ? "a token classification model" : "a question answering model";
}

/// The kind of task from the source, else from the layer's name, else from the request.
Result<HfTask> choose_task(const HfHead& head, const HeadRequest& request, const std::string& where) {
  if (head.task != HfTask::kUnknown) return head.task;
  if (head.output_is_qa) return HfTask::kQuestionAnswering;
  const HfTask requested = task_of_type(request.type);
  if (requested != HfTask::kUnknown) return requested;
  return Status::error(ErrorCode::kInvalidArgument,
                       "%s: the files do not say what the head is; give `head: {type: ...}` in the manifest (%s)", where.c_str(),
                       std::string(kHeadTypeList).c_str());
}

HeadType sequence_type(const HfHead& head, uint64_t outputs) {
  if (head.problem_type == "multi_label_classification") return HeadType::kMultiLabelClassification;
  if (head.problem_type == "regression") return HeadType::kRegression;
  // transformers: one output without a stated problem is regression.
  return outputs == 1 && head.problem_type.empty() ? HeadType::kRegression : HeadType::kSequenceClassification;
}

/// The head as the library computes it, before the request has its say. A pooler of the task's own is added last.
Result<HeadSpec> natural_head(HfTask task, const HfHead& head, const std::string& where) {
  HeadSpec spec;
  if (task == HfTask::kEncoder) {
    if (!head.output) return spec;
    return Status::error(ErrorCode::kMismatch, "%s: an encoder without a head is expected, but the weights hold a %s", where.c_str(),
                         head.output_is_qa ? "`qa_outputs` layer" : "`classifier`");
  }
  const bool is_qa = task == HfTask::kQuestionAnswering;
  if (!head.output || head.output_is_qa != is_qa) {
    return Status::error(ErrorCode::kMismatch, "%s: the head of %s needs `%s.weight`, which the weights do not hold%s", where.c_str(),
                         describe(task), is_qa ? "qa_outputs" : "classifier",
                         head.output ? "" : " (save it, e.g. in PEFT's modules_to_save)");
  }
  const uint64_t outputs = head.output->weight.rows;
  if (task == HfTask::kSequence) {
    spec.type = sequence_type(head, outputs);
    spec.pooling = Pooling::kPooler;
  } else {
    spec.type = is_qa ? HeadType::kQuestionAnswering : HeadType::kTokenClassification;
    spec.pooling = Pooling::kTokens;
  }
  if (head.labels.size() == outputs) spec.labels = head.labels;
  spec.layers.push_back({head.output->weight, head.output->bias, Activation::kNone});
  return spec;
}

}  // namespace

std::optional<HfTask> task_of_architecture(std::string_view architecture) {
  for (const ArchitectureTask& known : kArchitectures) {
    if (known.name == architecture) return known.task;
  }
  return std::nullopt;
}

Result<HeadSpec> make_hf_head(const BaseModel& base, const HfHead& head, const HeadRequest& request, const std::string& where) {
  PETS_ASSIGN_OR_RETURN(const HfTask task, choose_task(head, request, where));
  PETS_ASSIGN_OR_RETURN(HeadSpec spec, natural_head(task, head, where));
  PETS_RETURN_IF_ERROR(apply_head_request(request, where, &spec));
  if (spec.pooling != Pooling::kPooler) return spec;
  if (head.pooler) {
    spec.pooling = Pooling::kCls;
    spec.layers.insert(spec.layers.begin(), {head.pooler->weight, head.pooler->bias, Activation::kTanh});
  } else if (!base.pooler) {
    return Status::error(ErrorCode::kMismatch,
                         "%s: the head reads a pooler, but neither the base nor the task has one (transformers would make up a random one)",
                         where.c_str());
  }
  return spec;
}

Result<std::optional<LinearWeights>> read_output_layer(const std::map<std::string, StoredTensor>& tensors, uint32_t hidden) {
  std::optional<LinearWeights> result;
  for (const std::string name : {"classifier", "qa_outputs"}) {
    const auto weight = tensors.find(name + ".weight");
    if (weight == tensors.end()) continue;
    const std::vector<uint64_t>& shape = weight->second.tensor->shape;
    const uint64_t rows = shape.empty() ? 0 : shape[0];
    LinearWeights layer;
    layer.weight.rows = rows;
    layer.weight.columns = hidden;
    PETS_ASSIGN_OR_RETURN(layer.weight.values, floats_of_shape(weight->second, {rows, hidden}));
    if (const auto bias = tensors.find(name + ".bias"); bias != tensors.end()) {
      PETS_ASSIGN_OR_RETURN(layer.bias, floats_of_shape(bias->second, {rows}));
    } else {
      layer.bias.assign(rows, 0.0F);
    }
    if (rows == 0 || result) {
      return Status::error(ErrorCode::kDamaged, "%s: tensor `%s`: %s", weight->second.file->path().c_str(),
                           utf8::printable(weight->second.tensor->name).c_str(), rows == 0 ? "has no outputs" : "the model has two heads");
    }
    result = std::move(layer);
  }
  return result;
}

}  // namespace pets::converter
