// Which products the emulated device was asked for, for tests.
#pragma once

#include <compare>
#include <cstdint>
#include <set>

namespace pets::cuda::emulation {

struct ProductSizes {
  uint32_t rows = 0, in = 0, out = 0, out_stride = 0;
  auto operator<=>(const ProductSizes&) const = default;
};

struct ProductRecord {
  std::set<ProductSizes> tuned, captured;
};

/// Of all queues, until a test clears it. Not thread-safe.
ProductRecord& products();

}  // namespace pets::cuda::emulation
