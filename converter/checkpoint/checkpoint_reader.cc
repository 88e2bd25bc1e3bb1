// read_checkpoint: a fully fine-tuned directory as its difference from the base.
#include <cmath>
#include <cstdio>
#include <iterator>

#include "converter/checkpoint/parameter_difference.h"
#include "converter/huggingface/bert_config.h"
#include "converter/huggingface/bert_names.h"
#include "converter/huggingface/hf_head.h"
#include "converter/huggingface/tensor_store.h"
#include "converter/model/activation_names.h"
#include "converter/model/operator_set.h"
#include "converter/readers.h"
#include "converter/tokenizer/same_tokenizer.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

Status differs(const BertConfig& config, const char* key, const std::string& own, const std::string& base) {
  return Status::error(ErrorCode::kMismatch, "%s: `%s` is %s, the base has %s: not a fine-tuned copy of this base", config.path.c_str(),
                       key, own.c_str(), base.c_str());
}

Status check_same_architecture(const BaseModel& base, const BertConfig& config) {
  struct Size {
    const char* key;
    uint32_t own, base;
  };
  const Size sizes[] = {
      {"hidden_size", config.hidden, base.hidden},
      {"num_hidden_layers", config.layers, base.layers},
      {"num_attention_heads", config.heads, base.heads},
      {"intermediate_size", config.intermediate, base.intermediate},
      {"vocab_size", config.vocabulary, base.vocabulary},
      {"max_position_embeddings", config.positions, base.positions},
      {"type_vocab_size", config.token_types, base.token_types},
  };
  for (const Size& size : sizes) {
    if (size.own != size.base) return differs(config, size.key, std::to_string(size.own), std::to_string(size.base));
  }
  if (config.activation != base.activation) {
    return differs(config, "hidden_act", std::string(transformers_activation_name(config.activation)),
                   std::string(transformers_activation_name(base.activation)));
  }
  if (config.norm_epsilon != base.norm_epsilon) {
    char own[32], other[32];
    std::snprintf(own, sizeof(own), "%g", static_cast<double>(config.norm_epsilon));
    std::snprintf(other, sizeof(other), "%g", static_cast<double>(base.norm_epsilon));
    return differs(config, "layer_norm_eps", own, other);
  }
  return Status::ok();
}

/// The encoder's parameters are compared; the rest is the head, a buffer or a language-model head.
Status compare_encoder(const BaseModel& base, const std::map<std::string, StoredTensor>& tensors, const PetSource& source,
                       OperatorSet& operators, DifferenceReport& report) {
  for (const auto& [name, stored] : tensors) {
    const auto place = place_of_tensor(name);
    if (place && place->site.kind == SiteKind::kPooler) continue;
    if (!place && (is_buffer_or_lm_head(name) || is_task_head(name))) continue;
    if (!place || place->site.layer >= base.layers) {
      return Status::error(ErrorCode::kUnsupported, "%s: tensor `%s` is no tensor of a BERT model of %u layers that this reader knows",
                           stored.file->path().c_str(), utf8::printable(stored.tensor->name).c_str(), base.layers);
    }
  }
  const DifferenceOptions options{source.as_low_rank, source.rank,
                                  "`pet: {as: low-rank, rank: R}` approximates weights and keeps changed embedding rows whole"};
  for (const Place& place : encoder_places(base.layers, false)) {
    const auto found = tensors.find(tensor_of_place(place));
    if (found == tensors.end()) {
      return Status::error(ErrorCode::kDamaged, "%s: tensor `%s` is missing", source.path.c_str(), tensor_of_place(place).c_str());
    }
    PETS_RETURN_IF_ERROR(add_difference(base, place, found->second, options, operators, report));
  }
  return Status::ok();
}

/// The checkpoint's pooler where it is not the base's (rounded to the checkpoint's type).
Status read_pooler(const BaseModel& base, const std::map<std::string, StoredTensor>& tensors, const std::string& path,
                   std::optional<LinearWeights>& pooler) {
  const auto weight = tensors.find("pooler.dense.weight");
  const auto bias = tensors.find("pooler.dense.bias");
  if (weight == tensors.end() && bias == tensors.end()) return Status::ok();
  if (weight == tensors.end() || bias == tensors.end()) {
    return Status::error(ErrorCode::kDamaged, "%s: tensor `pooler.dense.%s` is missing", path.c_str(),
                         weight == tensors.end() ? "weight" : "bias");
  }
  LinearWeights own;
  own.weight.rows = own.weight.columns = base.hidden;
  const std::vector<uint64_t> matrix{base.hidden, base.hidden}, vector{base.hidden};
  if (base.pooler) {
    PETS_ASSIGN_OR_RETURN(own.weight.values, floats_restored_from(base.pooler->weight.values, weight->second, matrix));
    PETS_ASSIGN_OR_RETURN(own.bias, floats_restored_from(base.pooler->bias, bias->second, vector));
    if (own.weight.values == base.pooler->weight.values && own.bias == base.pooler->bias) return Status::ok();
  } else {
    PETS_ASSIGN_OR_RETURN(own.weight.values, floats_of_shape(weight->second, matrix));
    PETS_ASSIGN_OR_RETURN(own.bias, floats_of_shape(bias->second, vector));
  }
  pooler = std::move(own);
  return Status::ok();
}

Result<HeadSpec> read_head(const BaseModel& base, const BertConfig& config, const std::map<std::string, StoredTensor>& tensors,
                           const PetSource& source) {
  HfHead head;
  if (!config.architecture.empty()) {
    const auto task = task_of_architecture(config.architecture);
    if (!task) {
      return Status::error(ErrorCode::kUnsupported, "%s: architecture `%s` is not supported", config.path.c_str(),
                           utf8::printable(config.architecture).c_str());
    }
    head.task = *task;
  }
  PETS_ASSIGN_OR_RETURN(head.output, read_output_layer(tensors, base.hidden));
  head.output_is_qa = tensors.contains("qa_outputs.weight");
  for (const auto& [name, stored] : tensors) {
    const bool read = name == "classifier.weight" || name == "classifier.bias" || name == "qa_outputs.weight" || name == "qa_outputs.bias";
    if (is_task_head(name) && !(read && head.output)) {
      return Status::error(ErrorCode::kUnsupported, "%s: tensor `%s` belongs to no head that transformers' BERT classes have",
                           stored.file->path().c_str(), utf8::printable(stored.tensor->name).c_str());
    }
  }
  PETS_RETURN_IF_ERROR(read_pooler(base, tensors, source.path, head.pooler));
  head.labels = config.id2label;
  head.problem_type = config.problem_type;
  return make_hf_head(base, head, source.head, source.path);
}

/// "checkpoint: bias, norm, low_rank (12.3 % of the difference remains, at most 20.1 % at layer.3.ffn.up)".
std::string describe(const std::vector<Operator>& operators, const DifferenceReport& report) {
  constexpr const char* kNames[] = {"bias", "norm", "low_rank", "sparse", "replaced rows", "mask", "scale", "bottleneck"};
  bool seen[std::size(kNames)] = {};
  for (const Operator& operation : operators) seen[operation.body.index()] = true;
  std::string text = "checkpoint";
  const char* separator = ": ";
  for (size_t kind = 0; kind < std::size(kNames); ++kind) {
    if (!seen[kind]) continue;
    text += separator + std::string(kNames[kind]);
    separator = ", ";
  }
  if (operators.empty()) text += ": encoder unchanged";
  if (report.approximated > 0) {
    char remaining[200];
    std::snprintf(remaining, sizeof(remaining), " (approximated: %.3g %% of the difference remains, at most %.3g %% at %s)",
                  100 * std::sqrt(report.remaining_squares / report.difference_squares), 100 * report.worst, report.worst_name.c_str());
    text += remaining;
  }
  return text;
}

}  // namespace

Result<PetTask> read_checkpoint(const BaseModel& base, const PetSource& source) {
  if (source.as_low_rank && source.rank == 0) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: `as: low-rank` needs a `rank` of at least 1", source.path.c_str());
  }
  PETS_ASSIGN_OR_RETURN(const BertConfig config, read_bert_config(source.path));
  PETS_RETURN_IF_ERROR(check_same_architecture(base, config));
  PETS_RETURN_IF_ERROR(check_same_tokenizer(base, source.path));
  PETS_ASSIGN_OR_RETURN(const TensorStore store, TensorStore::open(source.path));
  PETS_ASSIGN_OR_RETURN(const auto tensors, store.by_normalised_name());

  PetTask task;
  // The head first: it is quick, and a wrong one should not wait for the comparison.
  PETS_ASSIGN_OR_RETURN(task.head, read_head(base, config, tensors, source));
  OperatorSet operators;
  DifferenceReport report;
  PETS_RETURN_IF_ERROR(compare_encoder(base, tensors, source, operators, report));
  task.operators = operators.release();
  task.source = describe(task.operators, report);
  return task;
}

}  // namespace pets::converter
