// detect_pet_format: by the files that a directory holds.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "converter/files/json_reader.h"
#include "converter/files/message_text.h"
#include "converter/readers.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

/// peft and AdapterHub both write adapter_config.json; peft's names its `peft_type`.
Result<std::string> format_of_adapter(const std::string& path) {
  PETS_ASSIGN_OR_RETURN(const OrderedJson object, load_config_object(path));
  if (object.contains("peft_type")) return std::string("peft");
  if (object.contains("config")) return std::string("adapterhub");
  return Status::error(ErrorCode::kUnsupported, "%s: neither peft's (no `peft_type`) nor AdapterHub's (no `config`)", path.c_str());
}

}  // namespace

Result<std::string> detect_pet_format(const std::string& directory) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    return Status::error(ErrorCode::kNotFound, "%s: expected the directory of a PET, found %s", directory.c_str(),
                         std::filesystem::exists(directory, error) ? "a file" : "nothing");
  }
  const auto has = [&](const char* name) { return is_file(join_path(directory, name)); };
  std::vector<std::string> found;
  if (has("pet_operators.safetensors")) found.emplace_back("operators");
  if (has("adapter_config.json")) {
    PETS_ASSIGN_OR_RETURN(std::string format, format_of_adapter(join_path(directory, "adapter_config.json")));
    found.push_back(std::move(format));
  } else if (has("head_config.json")) {
    found.emplace_back("adapterhub");  // a saved head alone
  }
  const bool weights =
      has("model.safetensors") || has("model.safetensors.index.json") || has("pytorch_model.bin") || has("pytorch_model.bin.index.json");
  if (has("config.json") && weights) found.emplace_back("checkpoint");
  if (found.size() == 1) return found[0];
  if (found.empty()) {
    return Status::error(
        ErrorCode::kNotFound,
        "%s: no PET found: expected adapter_config.json (peft, adapterhub), pet_operators.safetensors (operators) or config.json "
        "with model.safetensors (checkpoint)",
        directory.c_str());
  }
  return Status::error(ErrorCode::kInvalidArgument, "%s: could be %s or %s; say which in the manifest: `pet: {format: ...}`",
                       directory.c_str(), found[0].c_str(), found[1].c_str());
}

}  // namespace pets::converter
