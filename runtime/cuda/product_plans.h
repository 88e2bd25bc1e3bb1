// How products of a shape are computed, kept by shape. No CUDA header, so that it is tested without a GPU.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace pets::cuda {

/// All that the choice of an algorithm may depend on: sizes as in Product, and how far the operands are aligned.
struct ProductShape {
  uint32_t type = 0;  ///< of the values, as its owner numbers types
  uint32_t rows = 0, in = 0, out = 0, out_stride = 0;
  uint16_t x_alignment = 0, w_alignment = 0, y_alignment = 0;  ///< bytes, of operand_alignment
  bool operator==(const ProductShape&) const = default;
};

/// The greatest power of two that divides an address, at most 64: what any array of an arena has. So a base in the mapped bundle, which is
/// aligned further, gets the algorithms of its copy, and kernels ask for no more than the 16 of their loads.
inline uint16_t operand_alignment(const void* operand) {
  constexpr uintptr_t kMost = 64;
  const auto address = reinterpret_cast<uintptr_t>(operand) | kMost;
  return static_cast<uint16_t>(address & (~address + 1));
}

/// The plans of the shapes that were used last, default-made at first. Allocates nothing. One thread uses it.
/// kMost: a session with graphs has some 40 buckets of rows (bucket_rows), with 4 to 6 products each.
template <class Plan, size_t kMost = 256>
class ProductPlans {
 public:
  /// Null where the shape has none. A plan stays where it is until another shape takes its place.
  Plan* find(const ProductShape& shape) {
    for (Entry& entry : entries_) {
      if (entry.used == 0) break;  // entries are filled in order
      if (!(entry.shape == shape)) continue;
      entry.used = ++clock_;
      return &entry.plan;
    }
    return nullptr;
  }
  /// A new plan for a shape that has none, in place of the one that was not used for longest.
  Plan& add(const ProductShape& shape) {
    Entry& oldest = *std::min_element(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.used < b.used; });
    oldest.shape = shape;
    oldest.plan = Plan();
    oldest.used = ++clock_;
    return oldest.plan;
  }

 private:
  struct Entry {
    ProductShape shape;
    uint64_t used = 0;  ///< when it was asked for last; 0: never
    Plan plan;
  };
  std::array<Entry, kMost> entries_;
  uint64_t clock_ = 0;
};

/// The first of several ways that is as fast as the fastest. 2 %: what medians of one way differ by, so that which one is taken does not
/// change from run to run where several are alike. `seconds` is not empty.
inline size_t first_of_the_fastest(std::span<const double> seconds) {
  constexpr double kAlike = 1.02;
  const double least = *std::min_element(seconds.begin(), seconds.end());
  return static_cast<size_t>(std::find_if(seconds.begin(), seconds.end(), [&](double s) { return s <= least * kAlike; }) - seconds.begin());
}

}  // namespace pets::cuda
