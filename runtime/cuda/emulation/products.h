// Which products the emulated device was asked for, for tests.
#pragma once

#include <cstdint>
#include <set>
#include <tuple>

namespace pets::cuda::emulation {

struct ProductSizes {
  uint32_t rows = 0, in = 0, out = 0, out_stride = 0;
  bool operator==(const ProductSizes&) const = default;
  bool operator<(const ProductSizes& other) const {
    return std::tie(rows, in, out, out_stride) < std::tie(other.rows, other.in, other.out, other.out_stride);
  }
};

struct ProductRecord {
  std::set<ProductSizes> tuned, captured;
};

/// Of all queues, until a test clears it. Not thread-safe.
ProductRecord& products();

}  // namespace pets::cuda::emulation
