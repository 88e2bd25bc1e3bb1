// Arrays that kernels under test read and write: device memory, or plain memory where the kernels are emulated. The tests are the same.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/gemm/panel_layout.h"

namespace pets::kernels::cuda {

#if defined(PETS_EMULATED_CUDA)
/// Exactly so many bytes from the heap, so that AddressSanitizer sees an access beyond the end.
struct ArrayMemory {
  static constexpr std::align_val_t kAlignment{256};  // cudaMalloc's
  static void* allocate(size_t bytes) { return ::operator new(bytes, kAlignment); }
  static void free(void* data) { ::operator delete(data, kAlignment); }
  static void copy(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
};
#else
/// Device memory. A copy waits for the kernels before it (the default stream), and reports what went wrong in them.
struct ArrayMemory {
  static void* allocate(size_t bytes) {
    void* data = nullptr;
    EXPECT_EQ(cudaMalloc(&data, bytes), cudaSuccess);
    return data;
  }
  static void free(void* data) { EXPECT_EQ(cudaFree(data), cudaSuccess); }
  static void copy(void* to, const void* from, size_t bytes) { EXPECT_EQ(cudaMemcpy(to, from, bytes, cudaMemcpyDefault), cudaSuccess); }
};
#endif

template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  explicit DeviceArray(const std::vector<T>& values) : size_(values.size()), data_(static_cast<T*>(ArrayMemory::allocate(bytes()))) {
    if (size_ != 0) ArrayMemory::copy(static_cast<void*>(data_), values.data(), bytes());
  }
  DeviceArray(DeviceArray&& other) noexcept : size_(std::exchange(other.size_, 0)), data_(std::exchange(other.data_, nullptr)) {}
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    std::swap(size_, other.size_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~DeviceArray() {
    if (data_ != nullptr) ArrayMemory::free(static_cast<void*>(data_));
  }

  T* data() const { return data_; }
  size_t size() const { return size_; }
  std::vector<T> read() const {
    std::vector<T> values(size_);
    if (size_ != 0) ArrayMemory::copy(static_cast<void*>(values.data()), data_, bytes());
    return values;
  }

 private:
  size_t bytes() const { return size_ * sizeof(T); }
  size_t size_ = 0;
  T* data_ = nullptr;
};

/// Half the distance between 1 and the next value: the largest relative error of one rounding.
template <class T>
double rounding() {
  return std::is_same_v<T, float> ? 0x1p-24 : std::is_same_v<T, Half> ? 0x1p-11 : 0x1p-8;
}

template <class T>
float as_float(T value) {
  if constexpr (std::is_same_v<T, float>) {
    return value;
  } else {
    uint16_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    return std::is_same_v<T, Half> ? float_from_half(bits) : float_from_bfloat(bits);
  }
}
template <class T>
T as_type(float value) {
  if constexpr (std::is_same_v<T, float>) {
    return value;
  } else {
    const uint16_t bits = std::is_same_v<T, Half> ? half_from_float(value) : bfloat_from_float(value);
    T result;
    std::memcpy(static_cast<void*>(&result), &bits, sizeof bits);
    return result;
  }
}

/// Values rounded to T, and what they are then: references start from these.
template <class T>
std::vector<T> rounded(std::vector<float>& values) {
  std::vector<T> result(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    result[i] = as_type<T>(values[i]);
    values[i] = as_float(result[i]);
  }
  return result;
}

using ActivationTypes = ::testing::Types<float, Half, BFloat16>;

}  // namespace pets::kernels::cuda
