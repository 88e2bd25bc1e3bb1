// Takes tensors out of a safetensors file, checks their shapes, and knows which nobody took.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "converter/files/safetensors.h"
#include "converter/model/operators.h"
#include "pets/status.h"

namespace pets::converter {

class TensorReader {
 public:
  /// Stands for a dimension of any size, 1 or more.
  static constexpr uint64_t kAny = UINT64_MAX;

  /// `file` must outlive the reader.
  explicit TensorReader(const SafetensorsFile& file) : file_(&file) {}

  bool has(const std::string& name) const { return file_->find(name) != nullptr; }

  /// Each takes a tensor that must be there; the error names file, tensor, the shape expected and the shape found.
  Result<Matrix> matrix(const std::string& name, uint64_t rows, uint64_t columns);
  Result<std::vector<float>> vector(const std::string& name, uint64_t size);
  Result<const SafeTensor*> take(const std::string& name, const std::vector<uint64_t>& shape);

  /// Refuses the first tensor that was not taken, by name.
  Status check_all_taken() const;

  const SafetensorsFile& file() const { return *file_; }

 private:
  const SafetensorsFile* file_;
  std::set<std::string> taken_;
};

}  // namespace pets::converter
