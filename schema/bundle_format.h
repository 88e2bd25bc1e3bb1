// The fixed part of a bundle file: the header that stands before the FlatBuffers metadata. See docs/bundle-format.md.
#pragma once

#include <cstdint>

namespace pets::schema {

inline constexpr char kMagic[8] = {'P', 'E', 'T', 'S', 'B', 'N', 'D', 'L'};
inline constexpr uint32_t kFormatVersion = 1;        ///< a reader refuses files of a greater version
inline constexpr uint64_t kSegmentAlignment = 4096;  ///< bytes; segments start on pages, so that each can be paged out alone
inline constexpr uint64_t kTensorAlignment = 64;     ///< bytes, a cache line and an AVX-512 vector
inline constexpr uint64_t kTensorSlack = 64;         ///< readable bytes after every tensor: kernels may load a whole vector at its end

/// First 64 bytes of every bundle, little-endian.
struct FileHeader {
  char magic[8];
  uint32_t version;
  uint32_t header_size;       ///< sizeof(FileHeader)
  uint64_t file_size;         ///< bytes of the whole file
  uint64_t directory_offset;  ///< of the `Bundle` FlatBuffer
  uint64_t directory_length;
  uint64_t directory_checksum;  ///< XXH3-64
  uint64_t reserved;            ///< zero
  uint64_t header_checksum;     ///< XXH3-64 of the 56 bytes before it
};
static_assert(sizeof(FileHeader) == 64);

}  // namespace pets::schema
