// Files: mapped or copied, read-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "pets/status.h"

namespace pets::platform {

/// A file's bytes, mapped read-only or copied into memory of our own (page-aligned either way). Movable.
class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  /// Maps `path`. A file that is truncated underneath a mapping faults on access (SIGBUS): `copy` avoids that at the price of memory.
  static Result<MappedFile> open(const char* path, bool copy = false) noexcept;

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  bool is_copy() const noexcept { return copied_; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  bool copied_ = false;
};

/// Size of the file in bytes; only a regular file has one.
Result<uint64_t> file_size(const char* path) noexcept;

}  // namespace pets::platform
