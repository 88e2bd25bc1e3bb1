// The tensors of a Hugging Face model directory: one model.safetensors, or shards with an index.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "converter/files/safetensors.h"

namespace pets::converter {

struct StoredTensor {
  const SafetensorsFile* file = nullptr;
  const SafeTensor* tensor = nullptr;
};

class TensorStore {
 public:
  /// Opens `directory`/model.safetensors, else the shards of model.safetensors.index.json, every claim of the index checked. A directory
  /// with pickled weights only is refused.
  static Result<TensorStore> open(const std::string& directory);

  /// By their names as the files have them.
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  /// The same by normalised name (bert_names.h); two tensors that are one parameter are an error.
  Result<std::map<std::string, StoredTensor>> by_normalised_name() const;

 private:
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, StoredTensor> tensors_;
};

/// float32 values of a tensor that must have `shape`.
Result<std::vector<float>> floats_of_shape(const StoredTensor& stored, const std::vector<uint64_t>& shape);

}  // namespace pets::converter
