// The checksums of the bundle format: XXH3-64 with seed 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pets::bundle {

uint64_t checksum(std::span<const std::byte> bytes) noexcept;

/// A segment longer than this has the checksum of its parts' checksums (u64, little endian, one after another), each part of this many
/// bytes but for the last: so the base, most of a bundle, is checked by several threads.
inline constexpr size_t kChecksumPart = size_t{8} << 20;

/// The checksums of several segments, in order. Large inputs are shared among a few threads, since one core does not saturate the memory.
std::vector<uint64_t> segment_checksums(const std::vector<std::span<const std::byte>>& segments);
uint64_t segment_checksum(std::span<const std::byte> segment);

}  // namespace pets::bundle
