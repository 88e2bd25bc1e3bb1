// A stand-in for CUDA's libraries on the CPU, for tests: memory from the heap, work done when it is queued.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <functional>
#include <new>
#include <utility>
#include <vector>

#include "runtime/cuda/device.h"
#include "runtime/cuda/emulation/failure.h"
#include "runtime/cuda/emulation/products.h"
#include "runtime/platform/check.h"

namespace pets::cuda {
namespace {

constexpr std::align_val_t kAlignment{kDeviceAlignment};

constexpr uint64_t kNever = UINT64_MAX;
std::atomic<uint64_t> operations_left{kNever};

Status operate() {
  if (operations_left == kNever) return {};
  if (operations_left == 0) return Status::error(ErrorCode::kInternal, "cuda: the work on the device: an emulated failure (700)");
  --operations_left;
  return {};
}

std::byte* take(size_t bytes) {
  auto* data = static_cast<std::byte*>(::operator new(bytes, kAlignment, std::nothrow));
  if (data != nullptr) std::memset(data, 0, bytes);
  return data;
}

using Work = std::vector<std::function<void()>>;

class EmulatedGraph final : public Graph {
 public:
  explicit EmulatedGraph(Work work) : work_(std::move(work)) {}
  void run() const {
    for (const auto& step : work_) step();
  }

 private:
  Work work_;
};

/// To 10 bits of mantissa, halves away from zero.
float tf32_from_float(float x) {
  constexpr uint32_t kDropped = 13;
  return std::bit_cast<float>((std::bit_cast<uint32_t>(x) + (1U << (kDropped - 1))) >> kDropped << kDropped);
}

class EmulatedQueue final : public Queue {
 public:
  explicit EmulatedQueue(bool tf32) : tf32_(tf32) {}
  Status set_workspace(std::byte* workspace) noexcept override {
    workspace_ = workspace;
    return {};
  }
  Stream stream(uint32_t index) const noexcept override {
    if (index != 0) return {&spread_[index]};
    return {capturing_ ? &captured_ : nullptr};
  }
  Status fork(uint32_t) noexcept override { return {}; }
  /// Only now do the streams run, the last one first: what should have waited for them, or for one another, is wrong.
  Status join(uint32_t streams) noexcept override {
    for (uint32_t i = streams; i-- > 1;) {
      for (const auto& step : std::exchange(spread_[i], {})) (void)queue(step);
    }
    return {};
  }
  Status upload(void* to, const void* from, size_t bytes) noexcept override { return copy(to, from, bytes); }
  Status download(void* to, const void* from, size_t bytes) noexcept override { return copy(to, from, bytes); }
  Status product(const Product<float>& call) noexcept override { return multiply(call); }
  Status product(const Product<Half>& call) noexcept override { return multiply(call); }
  Status product(const Product<BFloat16>& call) noexcept override { return multiply(call); }
  Status tune(const Product<float>& call, std::span<const float* const> weights) noexcept override { return note_tuned(call, weights); }
  Status tune(const Product<Half>& call, std::span<const Half* const> weights) noexcept override { return note_tuned(call, weights); }
  Status tune(const Product<BFloat16>& call, std::span<const BFloat16* const> weights) noexcept override {
    return note_tuned(call, weights);
  }
  /// As strict about sizes and places as cuBLAS may be.
  Status product(const Int8Product& call) noexcept override {
    if (workspace_ == nullptr) return Status::error(ErrorCode::kInternal, "a product before its workspace was set");
    const auto aligned = [](const void* place) { return reinterpret_cast<uintptr_t>(place) % 16 == 0; };
    if ((call.rows | call.in | call.out) % kInt8Multiple != 0 || !aligned(call.x) || !aligned(call.w) || !aligned(call.y)) {
      return Status::error(ErrorCode::kInternal, "a product of integers, %u x %u x %u: sizes or places that cuBLAS does not take",
                           call.rows, call.in, call.out);
    }
    return queue([=] {
      for (size_t row = 0; row < call.rows; ++row) {
        for (size_t column = 0; column < call.out; ++column) {
          int32_t sum = 0;
          for (size_t k = 0; k < call.in; ++k) sum += int32_t{call.x[row * call.in + k]} * call.w[column * call.in + k];
          call.y[row * call.out + column] = sum;
        }
      }
    });
  }
  Status launched() noexcept override { return {}; }
  Status synchronize() noexcept override { return operations_left == 0 ? operate() : Status::ok(); }
  Status begin_capture() noexcept override {
    captured_.clear();
    capturing_ = true;
    return {};
  }
  Result<std::unique_ptr<Graph>> end_capture() noexcept override {
    capturing_ = false;
    std::unique_ptr<Graph> graph = std::make_unique<EmulatedGraph>(std::exchange(captured_, {}));
    return graph;
  }
  Status replay(const Graph& graph) noexcept override {
    PETS_RETURN_IF_ERROR(operate());
    static_cast<const EmulatedGraph&>(graph).run();
    return {};
  }

 private:
  template <class F>
  Status queue(const F& work) {
    PETS_RETURN_IF_ERROR(operate());
    if (capturing_) {
      captured_.push_back(work);
    } else {
      work();
    }
    return {};
  }
  Status copy(void* to, const void* from, size_t bytes) {
    return queue([=] {
      if (bytes != 0) std::memcpy(to, from, bytes);
    });
  }
  template <class T>
  static emulation::ProductSizes sizes(const Product<T>& call) {
    return {call.rows, call.in, call.out, call.out_stride};
  }
  /// There is one way to compute a product: nothing is found out, but y is NaNs then, which whoever reads it shows.
  template <class T>
  Status note_tuned(const Product<T>& call, std::span<const T* const> weights) {
    if (capturing_ || weights.empty() || weights[0] == nullptr) return Status::error(ErrorCode::kInternal, "a product is tuned too late");
    emulation::products().tuned.insert(sizes(call));
    for (size_t row = 0; row < call.rows; ++row) std::memset(call.y + row * call.out_stride, 0xff, call.out * sizeof(T));
    return {};
  }
  template <class T>
  Status multiply(const Product<T>& call) {
    if (workspace_ == nullptr) return Status::error(ErrorCode::kInternal, "a product before its workspace was set");
    if (capturing_) emulation::products().captured.insert(sizes(call));
    const auto operand = [tf32 = tf32_ && std::is_same_v<T, float>](T x) {
      return tf32 ? tf32_from_float(kernels::cuda::to_float(x)) : kernels::cuda::to_float(x);
    };
    return queue([=] {
      for (size_t row = 0; row < call.rows; ++row) {
        for (size_t column = 0; column < call.out; ++column) {
          float sum = 0;
          for (size_t k = 0; k < call.in; ++k) {
            sum += operand(call.x[row * call.in + k]) * operand(call.w[column * call.in + k]);
          }
          call.y[row * call.out_stride + column] = kernels::cuda::from_float<T>(sum);
        }
      }
    });
  }

  mutable Work captured_;
  mutable std::array<Work, kMostStreams> spread_;  // between fork and join
  bool capturing_ = false;
  bool tf32_;
  std::byte* workspace_ = nullptr;
};

}  // namespace

void emulation::fail_after(uint32_t operations) { operations_left = operations; }

emulation::ProductRecord& emulation::products() {
  static ProductRecord record;
  return record;
}

Result<DeviceInfo> probe_device() noexcept {
  if (operations_left == 0) operations_left = kNever;
  DeviceInfo info;
  std::strcpy(info.name, "emulated");
  info.total_bytes = info.free_bytes = uint64_t{1} << 30;
  return info;
}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}
DeviceMemory::~DeviceMemory() { ::operator delete(data_, kAlignment); }
Result<DeviceMemory> DeviceMemory::allocate(size_t bytes, const char* what) noexcept {
  DeviceMemory memory;
  memory.data_ = take(bytes);
  if (memory.data_ == nullptr) return Status::error(ErrorCode::kResourceExhausted, "%s: cannot allocate %zu bytes", what, bytes);
  memory.size_ = bytes;
  return memory;
}

HostMemory& HostMemory::operator=(HostMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}
HostMemory::~HostMemory() { ::operator delete(data_, kAlignment); }
Result<HostMemory> HostMemory::allocate(size_t bytes) noexcept {
  HostMemory memory;
  memory.data_ = take(bytes);
  if (memory.data_ == nullptr) return Status::error(ErrorCode::kResourceExhausted, "cannot allocate %zu bytes of host memory", bytes);
  memory.size_ = bytes;
  return memory;
}

Result<std::unique_ptr<Queue>> Queue::create(const QueueOptions& options) noexcept {
  std::unique_ptr<Queue> queue(new (std::nothrow) EmulatedQueue(options.tf32));
  if (queue == nullptr) return Status::error(ErrorCode::kResourceExhausted, "a queue: out of memory");
  return queue;
}

ProfilerRange::ProfilerRange(const char*) noexcept {}
ProfilerRange::~ProfilerRange() = default;

}  // namespace pets::cuda
