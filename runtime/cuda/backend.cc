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

template <class T, class Interface>
class CudaLayout : public Interface {
 public:
  explicit CudaLayout(const engine::BaseWeights& base) : base_(base) {}
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
  uint64_t base_bytes() const noexcept override { return tables_.bytes(); }
  WeightMemory weight_memory() const noexcept override { return tables_.mapping().memory(); }
  std::string_view weight_memory_reason() const noexcept override { return tables_.mapping().reason(); }
  Result<std::unique_ptr<engine::DeviceEncoder>> make_encoder(const engine::EncoderCapacity& capacity) const noexcept override {
    return CudaEncoder<T>::create(this->base_, tables_, capacity);
  }

 private:
  DeviceInfo device_;
  BaseTables<T> tables_;
};

/// The same without a device.
template <class T>
class CudaPlan final : public CudaLayout<T, engine::DeviceLayout> {
 public:
  /// `mapped`: the device will read the base where the bundle lies.
  CudaPlan(const engine::BaseWeights& base, bool mapped) : CudaLayout<T, engine::DeviceLayout>(base), mapped_(mapped) {}
  uint64_t base_bytes() const noexcept override { return BaseTables<T>::count_bytes(this->base_, mapped_); }

 private:
  bool mapped_;
};

/// What to plan with: of this machine's device; where it has none, what is asked for is taken to be there, and nothing else.
HostAccess planned_access(WeightMemory wanted) {
  if (const Result<HostAccess> found = probe_host_access()) return *found;
  const bool asked = wanted != WeightMemory::kAuto;
  return {.integrated = asked, .pageable = asked, .registration = asked, .read_only_registration = asked};
}

/// Calls f with a value of the type that the device computes a base in.
template <class F>
auto with_type(const engine::BaseWeights& base, const F& f) {
  switch (base.linear_type) {
    case kernels::WeightType::kFloat32:
      return f(float());
    case kernels::WeightType::kBFloat16:
      return f(BFloat16());
    default:  // int8 weights, too: activations are half beside them
      return f(Half());
  }
}

}  // namespace
}  // namespace pets::cuda

namespace pets::engine {

Result<std::shared_ptr<const DeviceBase>> open_cuda(const BaseWeights& base, WeightMemory memory) noexcept {
  using Opened = Result<std::shared_ptr<const DeviceBase>>;
  try {
    PETS_ASSIGN_OR_RETURN(const cuda::DeviceInfo device, cuda::probe_device());
    PETS_RETURN_IF_ERROR(cuda::check_sizes(base.hidden, base.heads, base.intermediate));
    PETS_ASSIGN_OR_RETURN(const cuda::HostAccess access, cuda::probe_host_access());
    PETS_ASSIGN_OR_RETURN(cuda::WeightMapping mapping, cuda::WeightMapping::open(base, memory, access));
    return cuda::with_type(base, [&](auto type) -> Opened {
      using T = decltype(type);
      PETS_ASSIGN_OR_RETURN(cuda::BaseTables<T> tables, cuda::BaseTables<T>::create(base, std::move(mapping)));
      return std::shared_ptr<const DeviceBase>(std::make_shared<cuda::CudaBase<T>>(base, device, std::move(tables)));
    });
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "backend cuda: out of memory");
  }
}

Result<std::unique_ptr<const DeviceLayout>> plan_cuda(const BaseWeights& base, WeightMemory memory) noexcept {
  try {
    PETS_RETURN_IF_ERROR(cuda::check_sizes(base.hidden, base.heads, base.intermediate));
    PETS_ASSIGN_OR_RETURN(const WeightMemory expected, cuda::WeightMapping::expected(base, memory, cuda::planned_access(memory)));
    return cuda::with_type(base, [&](auto type) {
      return std::unique_ptr<const DeviceLayout>(std::make_unique<cuda::CudaPlan<decltype(type)>>(base, expected != WeightMemory::kCopy));
    });
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "backend cuda: out of memory");
  }
}

}  // namespace pets::engine
