// In place of the CUDA backend, in builds without it.
#include "runtime/engine/device_encoder.h"

namespace pets::engine {

namespace {

Status absent() {
  return Status::error(ErrorCode::kUnsupported, "backend cuda: this build has the cpu backend only (it was made without the CUDA toolkit)");
}

}  // namespace

Result<std::shared_ptr<const DeviceBase>> open_cuda(const BaseWeights&, WeightMemory) noexcept { return absent(); }
Result<std::unique_ptr<const DeviceLayout>> plan_cuda(const BaseWeights&, WeightMemory) noexcept { return absent(); }

}  // namespace pets::engine
