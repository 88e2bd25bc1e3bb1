// The checksums of the bundle format: XXH3-64 with seed 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pets::bundle {

uint64_t checksum(std::span<const std::byte> bytes) noexcept;

/// The checksums of several ranges, in order. Large inputs are shared among a few threads, since one core does not saturate the memory.
std::vector<uint64_t> checksums(const std::vector<std::span<const std::byte>>& ranges);

}  // namespace pets::bundle
