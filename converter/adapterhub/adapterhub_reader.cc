// AdapterHub directories: adapter_config.json, adapter.safetensors, head_config.json, model_head.safetensors.
#include "converter/adapterhub/adapterhub_config.h"
#include "converter/adapterhub/adapterhub_methods.h"
#include "converter/files/message_text.h"
#include "converter/readers.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

constexpr const char* kWeightsName = "adapter.safetensors";

/// Files beside the adapter that change what the library would compute.
Status check_other_files(const std::string& directory) {
  const std::pair<const char*, const char*> files[] = {
      {"adapter_fusion_config.json", "AdapterFusion is not supported"},
      {"adapter_setup.json", "a composition of several adapters is not supported"},
      {"embedding.pt", "an adapter's own embeddings are not supported"},
      {"adapter_interface.json", "a model-agnostic adapter interface is not supported"},
  };
  for (const auto& [name, reason] : files) {
    if (!is_file(join_path(directory, name))) continue;
    return Status::error(ErrorCode::kUnsupported, "%s: %s", join_path(directory, name).c_str(), reason);
  }
  const std::string pickled = join_path(directory, "pytorch_adapter.bin");
  if (is_file(pickled) && !is_file(join_path(directory, kWeightsName))) {
    return Status::error(ErrorCode::kUnsupported,
                         "%s: pickled weights are not read; save the adapter with use_safetensors=True: "
                         "model.save_adapter(path, name, use_safetensors=True)",
                         pickled.c_str());
  }
  return {};
}

/// What `save_head` writes: a head trained on the frozen base.
bool is_head_alone(const std::string& directory) {
  const auto has = [&](const char* name) { return is_file(join_path(directory, name)); };
  return has("head_config.json") && !has("adapter_config.json") && !has(kWeightsName) && !has("pytorch_adapter.bin");
}

std::string describe(const HubConfig& config) {
  if (const auto* lora = std::get_if<HubLoraConfig>(&config.method); lora != nullptr) {
    return lora->multiplies ? "adapterhub ia3" : lora->dora ? "adapterhub dora" : "adapterhub lora";
  }
  const auto& bottleneck = std::get<HubBottleneckConfig>(config.method);
  if (bottleneck.options.parallel) return "adapterhub par_bn";
  return bottleneck.after_attention && bottleneck.after_ffn ? "adapterhub double_seq_bn" : "adapterhub seq_bn";
}

}  // namespace

Result<PetTask> read_adapterhub(const BaseModel& base, const PetSource& source) {
  PETS_RETURN_IF_ERROR(check_other_files(source.path));
  PetTask task;
  if (is_head_alone(source.path)) {
    PETS_ASSIGN_OR_RETURN(task.head, read_hub_head(base, source.path, source.head));
    task.source = "adapterhub head";
    return task;
  }
  PETS_ASSIGN_OR_RETURN(const HubConfig config, read_hub_config(base, source.path));
  PETS_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::open(join_path(source.path, kWeightsName)));
  TensorReader tensors(file);
  const bool is_lora = std::holds_alternative<HubLoraConfig>(config.method);
  PETS_ASSIGN_OR_RETURN(task.operators, is_lora ? read_hub_lora(base, config, &tensors) : read_hub_bottlenecks(base, config, &tensors));
  PETS_RETURN_IF_ERROR(tensors.check_all_taken());
  PETS_ASSIGN_OR_RETURN(task.head, read_hub_head(base, source.path, source.head));
  task.source = describe(config);
  return task;
}

}  // namespace pets::converter
