// The safetensors container (https://github.com/huggingface/safetensors), read through a mapping and checked completely.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "pets/status.h"
#include "runtime/platform/file.h"

namespace pets::converter {

enum class SafeDtype { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool, kOther };

struct SafeTensor {
  std::string name;
  SafeDtype dtype = SafeDtype::kOther;
  std::string dtype_name;  // as the file says
  std::vector<uint64_t> shape;
  std::span<const std::byte> bytes;  // into the mapping
};

/// An open safetensors file. Refuses: a header that lies about its length, overlapping or uncovered bytes, offsets beyond the file, shapes
/// that do not match the byte count, duplicate names, unknown keys.
class SafetensorsFile {
 public:
  static Result<SafetensorsFile> open(const std::string& path);
  /// For the fuzzer and tests: the same over bytes that outlive the object; `path` serves for messages.
  static Result<SafetensorsFile> parse(std::span<const std::byte> bytes, const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<SafeTensor>& tensors() const { return tensors_; }
  const SafeTensor* find(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::string path_;
  platform::MappedFile file_;
  std::vector<SafeTensor> tensors_;  // sorted by name
  std::map<std::string, std::string> metadata_;
};

/// F32, F16 and BF16 (and F64 that fits) widened or rounded to float32; other types are refused with the tensor's name.
Result<std::vector<float>> to_floats(const SafetensorsFile& file, const SafeTensor& tensor);
/// I32 or I64 (in range) as int64.
Result<std::vector<int64_t>> to_integers(const SafetensorsFile& file, const SafeTensor& tensor);

}  // namespace pets::converter
