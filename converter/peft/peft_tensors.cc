#include "converter/peft/peft_tensors.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "converter/huggingface/bert_names.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

struct Suffix {
  std::string_view text;
  PeftPart part;
  std::optional<PeftType> type;  // nothing: any
};

// Longer suffixes before those that they end in.
const Suffix kSuffixes[] = {
    {".lora_A.weight", PeftPart::kLoraA, PeftType::kLora},
    {".lora_B.weight", PeftPart::kLoraB, PeftType::kLora},
    {".lora_B.bias", PeftPart::kLoraBias, PeftType::kLora},
    {".lora_magnitude_vector", PeftPart::kMagnitude, PeftType::kLora},
    {".lora_magnitude_vector.weight", PeftPart::kMagnitude, PeftType::kLora},
    {".base_layer.bias", PeftPart::kBias, PeftType::kLora},
    {".ia3_l", PeftPart::kIa3, PeftType::kIa3},
    {".ln_tuning_layers.weight", PeftPart::kWeight, PeftType::kLayerNormTuning},
    {".ln_tuning_layers.bias", PeftPart::kBias, PeftType::kLayerNormTuning},
    {".shira_weight", PeftPart::kShiraWeight, PeftType::kShira},
    {".shira_indices", PeftPart::kShiraIndices, PeftType::kShira},
    {".beft_bias", PeftPart::kBeftBias, PeftType::kBeft},
    {".weight", PeftPart::kWeight, std::nullopt},
    {".bias", PeftPart::kBias, std::nullopt},
};

constexpr std::string_view kPrefix = "base_model.model.";
/// With `bias: all` peft also writes the wrapper's inner names of a saved module: the copy in use, and the untrained one. Between them
/// and the names inside a module that contains others stands the adapter's name: `pooler.modules_to_save.default.dense.bias`, but
/// `classifier.modules_to_save.bias`.
constexpr std::string_view kSavedCopy = ".modules_to_save.";
constexpr std::string_view kUntrainedCopy = ".original_module.";

bool same_bytes(const StoredTensor& a, const StoredTensor& b) {
  return a.tensor->shape == b.tensor->shape && a.tensor->dtype == b.tensor->dtype &&
         std::equal(a.tensor->bytes.begin(), a.tensor->bytes.end(), b.tensor->bytes.begin(), b.tensor->bytes.end());
}

}  // namespace

Status peft_tensor_error(const StoredTensor& stored, const std::string& problem) {
  return Status::error(ErrorCode::kMismatch, "%s: tensor `%s` %s", stored.file->path().c_str(),
                       utf8::printable(stored.tensor->name, 140).c_str(), problem.c_str());
}

Result<std::map<std::string, PeftModule>> sort_peft_tensors(const SafetensorsFile& file, const PeftConfig& config) {
  std::map<std::string, PeftModule> modules;
  for (const SafeTensor& tensor : file.tensors()) {
    const StoredTensor stored{&file, &tensor};
    std::string name = tensor.name;
    if (!name.starts_with(kPrefix)) return peft_tensor_error(stored, "does not start with `base_model.model.`: no tensor that peft saves");
    name.erase(0, kPrefix.size());
    if (name.find(kUntrainedCopy) != std::string::npos) continue;
    if (const size_t copy = name.find(kSavedCopy); copy != std::string::npos) {
      const size_t inner = name.find('.', copy + kSavedCopy.size());
      name.erase(copy, (inner == std::string::npos ? copy + kSavedCopy.size() - 1 : inner) - copy);
    }

    const Suffix* suffix = nullptr;
    for (const Suffix& candidate : kSuffixes) {
      if (suffix == nullptr && name.ends_with(candidate.text)) suffix = &candidate;
    }
    if (suffix == nullptr || (suffix->type && *suffix->type != config.type)) {
      const bool embedding = name.find(".lora_embedding_") != std::string::npos;
      return peft_tensor_error(stored, embedding ? "is a LoRA on an embedding table, which is not supported"
                                                 : "has no meaning in a PET of type " + config.type_name);
    }
    const std::string full_name = name.substr(0, name.size() - suffix->text.size());
    PeftModule& module = modules[normalise_tensor_name(full_name)];
    if (module.full_name.empty()) module.full_name = full_name;
    const auto [entry, added] = module.parts.emplace(suffix->part, stored);
    if (added) continue;
    if (module.full_name != full_name || !same_bytes(entry->second, stored)) {
      return peft_tensor_error(stored,
                               "and `" + utf8::printable(entry->second.tensor->name) + "` are the same parameter with different values");
    }
  }
  return modules;
}

}  // namespace pets::converter
