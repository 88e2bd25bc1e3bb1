// read_peft: adapter_config.json + adapter_model.safetensors.
#include "converter/checkpoint/parameter_difference.h"
#include "converter/files/message_text.h"
#include "converter/huggingface/bert_names.h"
#include "converter/huggingface/hf_head.h"
#include "converter/huggingface/token_types.h"
#include "converter/model/operator_set.h"
#include "converter/peft/peft_config.h"
#include "converter/peft/peft_recipes.h"
#include "converter/peft/peft_tensors.h"
#include "converter/readers.h"
#include "converter/tokenizer/same_tokenizer.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

constexpr const char* kWeights = "adapter_model.safetensors";
constexpr const char* kPickled = "adapter_model.bin";

Result<SafetensorsFile> open_weights(const std::string& directory) {
  const std::string path = join_path(directory, kWeights);
  if (!is_file(path) && is_file(join_path(directory, kPickled))) {
    return Status::error(ErrorCode::kUnsupported, "%s: pickled weights are not read; save the adapter with safe_serialization=True",
                         join_path(directory, kPickled).c_str());
  }
  return SafetensorsFile::open(path);
}

/// The trained parts of a module that are no own parameter of it: what makes a PET of it.
bool has_adapter(const PeftModule& module) {
  for (const auto& [part, stored] : module.parts) {
    if (part != PeftPart::kWeight && part != PeftPart::kBias) return true;
  }
  return false;
}

const StoredTensor& any_tensor(const PeftModule& module) { return module.parts.begin()->second; }

/// A module of the encoder: a linear, a norm or an embedding table.
Status read_encoder_module(const BaseModel& base, const PeftConfig& config, const PeftModule& module, Site site, OperatorSet& operators) {
  if (site.layer >= base.layers) {
    return peft_tensor_error(
        any_tensor(module), "belongs to layer " + std::to_string(site.layer) + ", the base has " + std::to_string(base.layers) + " layers");
  }
  const LinearWeights* linear = base.linear(site);
  if (linear == nullptr && has_adapter(module)) return peft_tensor_error(any_tensor(module), "acts on a module that is no linear layer");
  // Saved whole (modules_to_save), or a norm's parameters: peft loads what the file holds, in whatever type, so nothing is restored.
  const DifferenceOptions options{false, 0, "train it as a LoRA, or leave it out of modules_to_save", false};
  DifferenceReport report;
  if (const StoredTensor* weight = module.find(PeftPart::kWeight)) {
    if (has_adapter(module)) return peft_tensor_error(*weight, "replaces a weight that an adapter acts on too");
    PETS_RETURN_IF_ERROR(add_difference(base, {site, false}, *weight, options, operators, report));
  }
  if (linear != nullptr) return linear_recipe(config, module, *linear, operators.at(site));
  if (const StoredTensor* bias = module.find(PeftPart::kBias)) {
    if (schema::is_embedding_site(site.kind)) return peft_tensor_error(*bias, "is a bias of an embedding table");
    PETS_RETURN_IF_ERROR(add_difference(base, {site, true}, *bias, options, operators, report));
  }
  return Status::ok();
}

/// A dense layer of the task's own head, adapters merged: its saved weights, else `frozen`. Nothing where there is neither.
Result<std::optional<LinearWeights>> read_head_module(const PeftConfig& config, const PeftModule* module, const LinearWeights* frozen,
                                                      uint32_t hidden) {
  std::optional<LinearWeights> layer;
  if (frozen != nullptr) layer = *frozen;
  if (module == nullptr) return layer;
  if (const StoredTensor* weight = module->find(PeftPart::kWeight)) {
    const uint64_t rows = weight->tensor->shape.empty() ? 0 : weight->tensor->shape[0];
    layer.emplace();
    layer->weight.rows = rows;
    layer->weight.columns = hidden;
    PETS_ASSIGN_OR_RETURN(layer->weight.values, floats_of_shape(*weight, {rows, hidden}));
    layer->bias.assign(rows, 0.0F);
    if (rows == 0) return peft_tensor_error(*weight, "has no outputs");
  }
  if (!layer) return peft_tensor_error(any_tensor(*module), "changes a layer whose weight neither the adapter nor the base holds");
  SiteOperators operators;
  PETS_RETURN_IF_ERROR(linear_recipe(config, *module, *layer, operators));
  merge_into(operators, *layer);
  return layer;
}

Result<HeadSpec> read_head(const BaseModel& base, const PeftConfig& config, const std::map<std::string, PeftModule>& modules,
                           const PetSource& source) {
  const auto find = [&](const char* name) {
    const auto found = modules.find(name);
    return found == modules.end() ? nullptr : &found->second;
  };
  HfHead head;
  head.task = config.task;
  const PeftModule* classifier = find("classifier");
  const PeftModule* qa_outputs = find("qa_outputs");
  if (classifier != nullptr && qa_outputs != nullptr) return peft_tensor_error(any_tensor(*qa_outputs), "and `classifier` are two heads");
  head.output_is_qa = qa_outputs != nullptr;
  // A head that was not trained is the base directory's own, where that has one of the same kind.
  const bool own_head_fits = base.own_head && task_of_architecture(base.architecture) == config.task;
  const LinearWeights* frozen = own_head_fits ? &*base.own_head : nullptr;
  if (classifier == nullptr && qa_outputs == nullptr) head.output_is_qa = own_head_fits && config.task == HfTask::kQuestionAnswering;
  PETS_ASSIGN_OR_RETURN(head.output, read_head_module(config, head.output_is_qa ? qa_outputs : classifier, frozen, base.hidden));

  // Over a base without a pooler, transformers made up one: a change of it says nothing. A head that reads it is refused below.
  const PeftModule* pooler = find("pooler.dense");
  if (pooler != nullptr && (base.pooler || pooler->find(PeftPart::kWeight) != nullptr)) {
    PETS_ASSIGN_OR_RETURN(const std::optional<LinearWeights> own,
                          read_head_module(config, pooler, base.pooler ? &*base.pooler : nullptr, base.hidden));
    if (!own || own->weight.rows != base.hidden) return peft_tensor_error(any_tensor(*pooler), "does not have the base's hidden size");
    const bool unchanged = base.pooler && own->weight.values == base.pooler->weight.values && own->bias == base.pooler->bias;
    if (!unchanged) head.pooler = own;
  }
  // The number of labels is all that PEFT files tell; the base's config may name them.
  if (head.output && base.id2label.size() == head.output->weight.rows) {
    head.labels = base.id2label;
    head.problem_type = base.problem_type;
  }
  return make_hf_head(base, head, source.head, source.path);
}

}  // namespace

Result<PetTask> read_peft(const BaseModel& base, const PetSource& source) {
  PETS_ASSIGN_OR_RETURN(const PeftConfig config, read_peft_config(source.path));
  PETS_RETURN_IF_ERROR(check_same_tokenizer(base, source.path));
  PETS_ASSIGN_OR_RETURN(const SafetensorsFile file, open_weights(source.path));
  PETS_ASSIGN_OR_RETURN(const auto modules, sort_peft_tensors(file, config));

  OperatorSet operators;
  bool adapted = false;
  for (const auto& [name, module] : modules) {
    adapted = adapted || has_adapter(module) || config.type == PeftType::kLayerNormTuning;
    if (name != "classifier" && name != "qa_outputs" && name != "pooler.dense") {
      const std::optional<Site> site = site_of_module(name);
      if (!site) return peft_tensor_error(any_tensor(module), "belongs to no module of this base");
      PETS_RETURN_IF_ERROR(read_encoder_module(base, config, module, *site, operators));
    }
    if (has_adapter(module) && !targets_module(config.targets, module.full_name).value_or(true)) {
      return peft_tensor_error(
          any_tensor(module),
          "adapts a module that `target_modules`, `exclude_modules` or `layers_to_transform` leave out: peft would not load it");
    }
  }
  if (!adapted) {
    return Status::error(ErrorCode::kDamaged, "%s: holds no tensor of a PET of type %s", file.path().c_str(), config.type_name.c_str());
  }
  if (config.drops_token_types) drop_token_types(base, operators);

  PetTask task;
  task.source = "peft " + std::string(config.dora ? "LORA (DoRA)" : config.type_name);
  PETS_ASSIGN_OR_RETURN(task.head, read_head(base, config, modules, source));
  task.operators = operators.release();
  return task;
}

}  // namespace pets::converter
