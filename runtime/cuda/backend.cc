// The CUDA backend as the engine sees it.
#include <memory>
#include <new>

#include "runtime/cuda/base_tables.h"
#include "runtime/cuda/cuda_encoder.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/shape.h"
#include "runtime/engine/device_encoder.h"
#include "runtime/platform/check.h"

namespace pets::cuda {
namespace {

template <class T, class Interface>
class CudaLayout : public Interface {
 public:
  explicit CudaLayout(const engine::BaseWeights& base) : base_(base) {}
  uint64_t base_bytes() const noexcept override { return BaseTables<T>::count_bytes(base_); }
  uint64_t task_bytes(const engine::TaskWeights& task) const noexcept override { return task_image_bytes<T>(base_, task); }
  uint64_t session_bytes(const engine::EncoderCapacity& capacity) const noexcept override {
    return CudaEncoder<T>::count_bytes(base_, capacity);
  }

 protected:
  const engine::BaseWeights& base_;
};

template <class T>
class CudaBase final : public CudaLayout<T, engine::DeviceBase> {
 public:
  CudaBase(const engine::BaseWeights& base, const DeviceInfo& device, BaseTables<T> tables)
      : CudaLayout<T, engine::DeviceBase>(base), device_(device), tables_(std::move(tables)) {}
  std::string_view device_name() const noexcept override { return device_.name; }
  Result<std::unique_ptr<engine::DeviceEncoder>> make_encoder(const engine::EncoderCapacity& capacity) const noexcept override {
    return CudaEncoder<T>::create(this->base_, tables_, capacity);
  }

 private:
  DeviceInfo device_;
  BaseTables<T> tables_;
};

/// Calls f with a value of the type that the device computes a base in.
template <class F>
auto with_type(const engine::BaseWeights& base, const F& f) {
  switch (base.linear_type) {
    case kernels::WeightType::kFloat32:
      return f(float());
    case kernels::WeightType::kBFloat16:
      return f(BFloat16());
    default:  // int8 weights are multiplied by their scales when they are copied
      return f(Half());
  }
}

/// What the kernels' tiles ask of a base.
Status check_shape(const engine::BaseWeights& base) {
  const auto refuse = [](const char* what, uint32_t multiple, uint32_t most, uint32_t found) {
    return Status::error(ErrorCode::kUnsupported,
                         "backend cuda: %s: expected a multiple of %u, at most %u, found %u; the cpu backend takes it", what, multiple,
                         most, found);
  };
  constexpr uint32_t kMostHidden = 1024, kMostIntermediate = 4096, kMostHead = 128, kMultiple = kFeatureMultiple, kHeadMultiple = 16;
  if (base.hidden % kMultiple != 0 || base.hidden > kMostHidden) return refuse("hidden size", kMultiple, kMostHidden, base.hidden);
  if (base.intermediate > kMostIntermediate) return refuse("intermediate size", 1, kMostIntermediate, base.intermediate);
  if (base.head_size % kHeadMultiple != 0 || base.head_size > kMostHead)
    return refuse("head size", kHeadMultiple, kMostHead, base.head_size);
  return {};
}

}  // namespace
}  // namespace pets::cuda

namespace pets::engine {

Result<std::shared_ptr<const DeviceBase>> open_cuda(const BaseWeights& base) noexcept {
  using Opened = Result<std::shared_ptr<const DeviceBase>>;
  try {
    PETS_ASSIGN_OR_RETURN(const cuda::DeviceInfo device, cuda::probe_device());
    PETS_RETURN_IF_ERROR(cuda::check_shape(base));
    return cuda::with_type(base, [&](auto type) -> Opened {
      using T = decltype(type);
      PETS_ASSIGN_OR_RETURN(cuda::BaseTables<T> tables, cuda::BaseTables<T>::upload(base));
      return std::shared_ptr<const DeviceBase>(std::make_shared<cuda::CudaBase<T>>(base, device, std::move(tables)));
    });
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "backend cuda: out of memory");
  }
}

Result<std::unique_ptr<const DeviceLayout>> plan_cuda(const BaseWeights& base) noexcept {
  try {
    PETS_RETURN_IF_ERROR(cuda::check_shape(base));
    return cuda::with_type(base, [&](auto type) {
      return std::unique_ptr<const DeviceLayout>(std::make_unique<cuda::CudaLayout<decltype(type), DeviceLayout>>(base));
    });
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "backend cuda: out of memory");
  }
}

}  // namespace pets::engine
