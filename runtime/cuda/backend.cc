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

template <class T>
class CudaBase final : public engine::DeviceBase {
 public:
  CudaBase(const engine::BaseWeights& base, const DeviceInfo& device, BaseTables<T> tables)
      : base_(base), device_(device), tables_(std::move(tables)) {}
  std::string_view device_name() const noexcept override { return device_.name; }
  uint64_t device_bytes() const noexcept override { return tables_.bytes(); }
  uint64_t task_bytes(const engine::TaskWeights& task) const noexcept override { return task_image_bytes<T>(base_, task); }
  Result<std::unique_ptr<engine::DeviceEncoder>> make_encoder(const engine::EncoderCapacity& capacity) const noexcept override {
    return CudaEncoder<T>::create(base_, tables_, capacity);
  }

 private:
  const engine::BaseWeights& base_;
  DeviceInfo device_;
  BaseTables<T> tables_;
};

template <class T>
Result<std::shared_ptr<const engine::DeviceBase>> open_base(const engine::BaseWeights& base, const DeviceInfo& device) {
  PETS_ASSIGN_OR_RETURN(BaseTables<T> tables, BaseTables<T>::upload(base));
  return std::shared_ptr<const engine::DeviceBase>(std::make_shared<CudaBase<T>>(base, device, std::move(tables)));
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
  try {
    PETS_ASSIGN_OR_RETURN(const cuda::DeviceInfo device, cuda::probe_device());
    PETS_RETURN_IF_ERROR(cuda::check_shape(base));
    switch (base.linear_type) {
      case kernels::WeightType::kFloat32:
        return cuda::open_base<float>(base, device);
      case kernels::WeightType::kBFloat16:
        return cuda::open_base<cuda::BFloat16>(base, device);
      default:  // int8 weights are multiplied by their scales when they are copied
        return cuda::open_base<cuda::Half>(base, device);
    }
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "backend cuda: out of memory");
  }
}

}  // namespace pets::engine
