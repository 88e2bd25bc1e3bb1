// What the benchmarks of CUDA kernels share: errors as exceptions, device memory, random values, tables.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/device.h"
#include "kernels/cuda/task_operators.h"
#include "kernels/gemm/panel_layout.h"
#include "runtime/cuda/device.h"

namespace pets::benchmarks::gpu {

using kernels::cuda::Half;
using kernels::cuda::RowTile;
using kernels::cuda::RowTiles;
using kernels::cuda::Stream;

inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}
inline void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) throw std::runtime_error(std::string(what) + ": " + cublasGetStatusString(status));
}
inline void check(const Status& status) {
  if (!status) throw std::runtime_error(status.c_str());
}
template <class T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(result.status().c_str());
  return std::move(result).value();
}

/// An array in device memory. Movable.
template <class T>
class Array {
 public:
  Array() = default;
  explicit Array(size_t count) : size_(count) {
    void* data = nullptr;
    if (count != 0) check(cudaMalloc(&data, count * sizeof(T)), "device memory");
    data_ = static_cast<T*>(data);
  }
  explicit Array(const std::vector<T>& values) : Array(values.size()) { write(0, values); }
  Array(Array&& other) noexcept : size_(std::exchange(other.size_, 0)), data_(std::exchange(other.data_, nullptr)) {}
  Array& operator=(Array&& other) noexcept {
    std::swap(size_, other.size_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Array() {
    if (data_ != nullptr) (void)cudaFree(data_);
  }

  T* data() const { return data_; }
  size_t size() const { return size_; }
  void write(size_t at, const std::vector<T>& values) {
    if (!values.empty())
      check(cudaMemcpy(static_cast<void*>(data_ + at), values.data(), values.size() * sizeof(T), cudaMemcpyDefault), "a copy");
  }
  std::vector<T> read() const {
    std::vector<T> values(size_);
    check(cudaMemcpy(static_cast<void*>(values.data()), data_, size_ * sizeof(T), cudaMemcpyDefault), "a copy");
    return values;
  }
  /// The first `count` values, again and again up to the end.
  void repeat_first(size_t count) {
    for (size_t done = count; done < size_;) {
      const size_t more = std::min(done, size_ - done);
      check(cudaMemcpy(static_cast<void*>(data_ + done), data_, more * sizeof(T), cudaMemcpyDefault), "a copy");
      done += more;
    }
  }

 private:
  size_t size_ = 0;
  T* data_ = nullptr;
};

inline Half half(float value) {
  const uint16_t bits = kernels::half_from_float(value);
  Half result;
  std::memcpy(static_cast<void*>(&result), &bits, sizeof bits);
  return result;
}
inline float as_float(Half value) {
  uint16_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return kernels::float_from_half(bits);
}

/// Uniform in [-magnitude, magnitude].
class Random {
 public:
  float value(float magnitude) { return (static_cast<float>(engine_() >> 8) * 0x1p-23F - 1) * magnitude; }
  uint32_t below(uint32_t end) { return static_cast<uint32_t>(engine_() % end); }
  bool with_probability(double p) { return static_cast<double>(engine_()) * 0x1p-32 < p; }
  std::vector<Half> halves(size_t count, float magnitude) {
    std::vector<Half> values(count);
    for (Half& x : values) x = half(value(magnitude));
    return values;
  }
  std::vector<float> floats(size_t count, float magnitude) {
    std::vector<float> values(count);
    for (float& x : values) x = value(magnitude);
    return values;
  }

 private:
  std::mt19937 engine_{1};
};

/// Where all work is queued, and what the benchmarks need to know of the device.
struct Gpu {
  std::unique_ptr<pets::cuda::Queue> queue;
  cudaStream_t stream = nullptr;
  cublasHandle_t cublas = nullptr;  ///< on the stream, with a workspace as the queue's
  Array<std::byte> workspace, queue_workspace;
  cudaDeviceProp properties;
  uint32_t rounds = 9;
  double sample_seconds = 0.002;  ///< of one sample of one contender
  Random random;

  /// How many sets of operands are used in turn, so that each comes from memory: in an encoder the weights of all other sites pass between
  /// two uses of one.
  uint32_t operand_sets(size_t bytes_of_a_set, uint32_t most = 256) const {
    const size_t sets = 2 * static_cast<size_t>(properties.l2CacheSize) / (bytes_of_a_set + 1) + 1;
    return static_cast<uint32_t>(sets < most ? sets : most);
  }
};

/// Tiles of up to `tile_rows` rows of tasks that have `rows` each, one after another: in device memory, as grouped kernels take them.
class Tiles {
 public:
  explicit Tiles(const std::vector<uint32_t>& rows_of_task, uint32_t tile_rows = 16) {
    std::vector<RowTile> tiles;
    for (size_t task = 0; task < rows_of_task.size(); ++task) {
      for (uint32_t row = 0; row < rows_of_task[task]; row += tile_rows) {
        const uint32_t count = rows_of_task[task] - row < tile_rows ? rows_of_task[task] - row : tile_rows;
        tiles.push_back({rows_ + row, static_cast<uint16_t>(count), static_cast<uint16_t>(task)});
      }
      rows_ += rows_of_task[task];
    }
    most_ = static_cast<uint32_t>(tiles.size());
    tiles_ = Array<RowTile>(tiles);
    count_ = Array<uint32_t>(std::vector<uint32_t>{most_});
  }
  RowTiles tiles() const { return {tiles_.data(), count_.data(), most_}; }
  uint32_t rows() const { return rows_; }

 private:
  Array<RowTile> tiles_;
  Array<uint32_t> count_;
  uint32_t most_ = 0, rows_ = 0;
};

/// The root mean square of the differences as a part of that of `expected`: whether two ways computed the same.
double difference(const std::vector<Half>& found, const std::vector<Half>& expected);

/// Prints "| a | b |".
void print_row(const std::vector<std::string>& cells);
/// And the line below it.
void print_header(const std::vector<std::string>& cells);
/// Microseconds; "-" for none (0).
std::string us(double seconds);
std::string times(double ratio);
/// A difference: one significant digit.
std::string small(double value);

}  // namespace pets::benchmarks::gpu
