// The CUDA backend as the engine sees it.
#include <memory>
#include <new>
#include <utility>

#include "runtime/cuda/base_tables.h"
#include "runtime/cuda/cuda_encoder.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/limits.h"
#include "runtime/cuda/weight_ladder.h"
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
  WeightMemory weight_memory() const noexcept override { return tables_.mapping().memory(); }
  std::string_view weight_memory_reason() const noexcept override { return tables_.mapping().reason(); }
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
Result<std::shared_ptr<const engine::DeviceBase>> open_base(const engine::BaseWeights& base, const DeviceInfo& device,
                                                            WeightMapping mapping) {
  PETS_ASSIGN_OR_RETURN(BaseTables<T> tables, BaseTables<T>::create(base, std::move(mapping)));
  return std::shared_ptr<const engine::DeviceBase>(std::make_shared<CudaBase<T>>(base, device, std::move(tables)));
}

}  // namespace
}  // namespace pets::cuda

namespace pets::engine {

Result<std::shared_ptr<const DeviceBase>> open_cuda(const BaseWeights& base, WeightMemory memory) noexcept {
  try {
    PETS_ASSIGN_OR_RETURN(const cuda::DeviceInfo device, cuda::probe_device());
    PETS_RETURN_IF_ERROR(cuda::check_sizes(base.hidden, base.heads, base.intermediate));
    PETS_ASSIGN_OR_RETURN(const cuda::HostAccess access, cuda::probe_host_access());
    PETS_ASSIGN_OR_RETURN(cuda::WeightMapping mapping, cuda::WeightMapping::open(base, memory, access));
    switch (base.linear_type) {
      case kernels::WeightType::kFloat32:
        return cuda::open_base<float>(base, device, std::move(mapping));
      case kernels::WeightType::kBFloat16:
        return cuda::open_base<cuda::BFloat16>(base, device, std::move(mapping));
      default:  // int8 weights are multiplied by their scales when they are copied
        return cuda::open_base<cuda::Half>(base, device, std::move(mapping));
    }
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "backend cuda: out of memory");
  }
}

}  // namespace pets::engine
