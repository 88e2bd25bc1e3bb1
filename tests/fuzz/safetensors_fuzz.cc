// SafetensorsFile over any bytes: it refuses or accepts, and what it accepts can be read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "converter/files/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using pets::converter::SafetensorsFile;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto file = SafetensorsFile::parse(bytes, "fuzz");
  if (!file) return 0;
  size_t covered = 0;
  for (const auto& tensor : file->tensors()) {
    if (file->find(tensor.name) != &tensor) std::abort();
    covered += tensor.bytes.size();
    const auto floats = pets::converter::to_floats(*file, tensor);
    const auto integers = pets::converter::to_integers(*file, tensor);
    if (floats && integers) std::abort();  // no type is both
  }
  if (covered > size) std::abort();  // tensors do not overlap
  return 0;
}
