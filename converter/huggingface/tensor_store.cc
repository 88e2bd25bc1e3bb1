#include "converter/huggingface/tensor_store.h"

#include <nlohmann/json.hpp>

#include "converter/files/json_reader.h"
#include "converter/files/message_text.h"
#include "converter/huggingface/bert_names.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

/// A shard lies beside the index: a name with a directory part would let the index reach any file.
bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos && name.find('\\') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

Result<std::map<std::string, std::string>> read_index(const std::string& path) {
  PETS_ASSIGN_OR_RETURN(const Json index, load_json_object(path, {uint64_t{64} << 20U, 1'000'000, 8}));
  for (const auto& [key, value] : index.items()) {
    if (key != "metadata" && key != "weight_map") {
      return Status::error(ErrorCode::kUnsupported, "%s: unknown key `%s`", path.c_str(), utf8::printable(key).c_str());
    }
  }
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object() || map->empty()) {
    return Status::error(ErrorCode::kDamaged, "%s: `weight_map` is missing or no object of tensors", path.c_str());
  }
  std::map<std::string, std::string> shard_of;
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string() || !is_plain_file_name(shard.get<std::string>())) {
      return Status::error(ErrorCode::kDamaged, "%s: tensor `%s`: %s is no name of a file in the same directory", path.c_str(),
                           utf8::printable(name).c_str(), json_text(shard).c_str());
    }
    shard_of[name] = shard.get<std::string>();
  }
  return shard_of;
}

}  // namespace

Result<TensorStore> TensorStore::open(const std::string& directory) {
  TensorStore store;
  const std::string single = join_path(directory, kSingle);
  const std::string index = join_path(directory, kIndex);
  if (is_file(single)) {
    PETS_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::open(single));
    store.files_.push_back(std::make_unique<SafetensorsFile>(std::move(file)));
    for (const SafeTensor& tensor : store.files_.back()->tensors()) store.tensors_[tensor.name] = {store.files_.back().get(), &tensor};
    return store;
  }
  if (!is_file(index)) {
    for (const char* pickled : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
      if (!is_file(join_path(directory, pickled))) continue;
      return Status::error(ErrorCode::kUnsupported, "%s: pickled weights are not read; save the model with safe_serialization=True",
                           join_path(directory, pickled).c_str());
    }
    return Status::error(ErrorCode::kNotFound, "%s: found neither %s nor %s", directory.c_str(), kSingle, kIndex);
  }

  PETS_ASSIGN_OR_RETURN(const auto shard_of, read_index(index));
  std::map<std::string, SafetensorsFile*> shards;
  for (const auto& [name, shard] : shard_of) shards[shard] = nullptr;
  for (auto& [shard, file] : shards) {
    PETS_ASSIGN_OR_RETURN(SafetensorsFile opened, SafetensorsFile::open(join_path(directory, shard)));
    store.files_.push_back(std::make_unique<SafetensorsFile>(std::move(opened)));
    file = store.files_.back().get();
    for (const SafeTensor& tensor : file->tensors()) {
      const auto listed = shard_of.find(tensor.name);
      if (listed == shard_of.end() || listed->second != shard) {
        return Status::error(ErrorCode::kDamaged, "%s: tensor `%s` lies in %s, the index says %s", index.c_str(),
                             utf8::printable(tensor.name).c_str(), utf8::printable(shard).c_str(),
                             listed == shard_of.end() ? "nothing of it" : utf8::printable(listed->second).c_str());
      }
      store.tensors_[tensor.name] = {file, &tensor};
    }
  }
  for (const auto& [name, shard] : shard_of) {
    if (store.tensors_.contains(name)) continue;
    return Status::error(ErrorCode::kDamaged, "%s: tensor `%s` is said to lie in %s, but does not", index.c_str(),
                         utf8::printable(name).c_str(), utf8::printable(shard).c_str());
  }
  return store;
}

Result<std::map<std::string, StoredTensor>> TensorStore::by_normalised_name() const {
  std::map<std::string, StoredTensor> result;
  for (const auto& [name, stored] : tensors_) {
    const auto [entry, added] = result.emplace(normalise_tensor_name(name), stored);
    if (!added) {
      return Status::error(ErrorCode::kDamaged, "%s: tensors `%s` and `%s` are the same parameter", stored.file->path().c_str(),
                           utf8::printable(entry->second.tensor->name).c_str(), utf8::printable(name).c_str());
    }
  }
  return result;
}

Result<std::vector<float>> floats_of_shape(const StoredTensor& stored, const std::vector<uint64_t>& shape) {
  if (stored.tensor->shape != shape) {
    return Status::error(ErrorCode::kMismatch, "%s: tensor `%s` has shape %s, expected %s", stored.file->path().c_str(),
                         utf8::printable(stored.tensor->name).c_str(), shape_text(stored.tensor->shape).c_str(), shape_text(shape).c_str());
  }
  return to_floats(*stored.file, *stored.tensor);
}

}  // namespace pets::converter
