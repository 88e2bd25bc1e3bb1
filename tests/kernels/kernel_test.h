// What the kernel tests share: buffers without slack, printed seeds, one test body for every variant.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernel_table.h"

namespace pets::kernels {

inline constexpr size_t kOddSizes[] = {1, 7, 19, 33, 111, 384};
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// 64-byte aligned, and not one value longer than asked for, so that AddressSanitizer sees every access outside.
template <class T>
class Buffer {
 public:
  explicit Buffer(size_t size, T value = T()) : size_(size) {
    void* p = nullptr;
    if (posix_memalign(&p, 64, std::max<size_t>(size * sizeof(T), 1)) != 0) std::abort();
    data_ = static_cast<T*>(p);
    std::fill(begin(), end(), value);
  }
  Buffer(const Buffer& other) : Buffer(other.size_) { std::copy(other.begin(), other.end(), begin()); }
  Buffer& operator=(const Buffer& other) {
    if (size_ != other.size_) std::abort();
    std::copy(other.begin(), other.end(), begin());
    return *this;
  }
  ~Buffer() { std::free(data_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};
using Floats = Buffer<float>;

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  float value(float magnitude = 1) { return std::uniform_real_distribution<float>(-magnitude, magnitude)(engine_); }
  uint32_t below(uint32_t end) { return std::uniform_int_distribution<uint32_t>(0, end - 1)(engine_); }
  void fill(Floats& floats, float magnitude = 1) {
    std::generate(floats.begin(), floats.end(), [&] { return value(magnitude); });
  }
  Floats floats(size_t size, float magnitude = 1) {
    Floats f(size);
    fill(f, magnitude);
    return f;
  }
  /// A random order of the 16 lanes: row i moves to lane order[i].
  std::vector<uint32_t> lane_order() {
    std::vector<uint32_t> order(kStripRows);
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), engine_);
    return order;
  }

 private:
  std::mt19937_64 engine_;
};

/// Lane masks that every masked kernel is tried with.
inline constexpr LaneMask kMasks[] = {0, 1, 0x8000, 0x0040, 0x00FF, 0xFFFE, 0x5A3C, kAllLanes};

/// Whether case number `index` of a long sweep over sizes runs: all do, but under emulation one in `stride`. With a stride that has no
/// common factor with the length of any of the sweep's loops, every size still occurs, and with every other one.
inline bool is_chosen([[maybe_unused]] uint64_t index, [[maybe_unused]] uint64_t stride) {
#ifdef PETS_EMULATED
  return index % stride == 0;
#else
  return true;
#endif
}

inline bool has_lane(LaneMask lanes, uint32_t lane) { return (lanes >> lane & 1) != 0; }
inline bool same_bits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

/// Moves the rows of [features][16] (or of several strips in one) to other lanes.
inline Floats permuted(const Floats& x, const std::vector<uint32_t>& order) {
  Floats y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i / kStripRows * kStripRows + order[i % kStripRows]] = x[i];
  return y;
}
/// Fills lanes outside `lanes` with values that spoil whatever they touch.
inline void spoil(Floats& x, LaneMask lanes) {
  for (size_t i = 0; i < x.size(); ++i) {
    if (!has_lane(lanes, i % kStripRows)) x[i] = i % 3 == 0 ? kNan : i % 3 == 1 ? kInfinity : -kInfinity;
  }
}

inline ::testing::AssertionResult all_same_bits(const Floats& actual, const Floats& expected, LaneMask lanes = kAllLanes) {
  if (actual.size() != expected.size()) return ::testing::AssertionFailure() << "sizes differ";
  for (size_t i = 0; i < actual.size(); ++i) {
    if (has_lane(lanes, i % kStripRows) && !same_bits(actual[i], expected[i])) {
      return ::testing::AssertionFailure() << "value " << i / kStripRows << " of row " << i % kStripRows << ": " << actual[i]
                                           << " instead of " << expected[i];
    }
  }
  return ::testing::AssertionSuccess();
}
/// |actual - expected| <= tolerance(i)
template <class Tolerance>
::testing::AssertionResult all_near(const Floats& actual, const Floats& expected, Tolerance tolerance) {
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    if (!(error <= tolerance(i))) {
      return ::testing::AssertionFailure() << "value " << i / kStripRows << " of row " << i % kStripRows << ": " << actual[i]
                                           << " instead of " << expected[i] << ", error " << error << " over " << tolerance(i);
    }
  }
  return ::testing::AssertionSuccess();
}

/// One body for every variant that this CPU has.
class KernelTest : public ::testing::TestWithParam<Isa> {
 protected:
  const KernelTable& kernels() const { return *kernel_table(GetParam()); }
  /// Chains of multiply-adds must then equal the reference bit by bit.
  bool fused() const { return GetParam() != Isa::kPortable; }
};

/// Emulated, without the levels that share all but the dot products with their base (IsaTest holds that they do).
inline std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
  for (Isa isa : kAllIsas) {
#ifdef PETS_EMULATED
    if (base_isa(isa) != isa) continue;
#endif
    if (isa_available(isa)) isas.push_back(isa);
  }
  return isas;
}

#define PETS_FOR_EVERY_ISA(Suite)                                                               \
  INSTANTIATE_TEST_SUITE_P(Isas, Suite, ::testing::ValuesIn(::pets::kernels::available_isas()), \
                           [](const auto& variant) { return std::string(::pets::kernels::isa_name(variant.param)); })

}  // namespace pets::kernels
