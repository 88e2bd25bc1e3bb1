// What a device can do with the host's memory, and registration, over the CUDA runtime.
#include <cuda_runtime_api.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

#include "runtime/cuda/mapped_memory.h"
#include "runtime/platform/check.h"

namespace pets::cuda {
namespace {

Status attribute(cudaDeviceAttr name, int device, bool& value) {
  int found = 0;
  if (const cudaError_t error = cudaDeviceGetAttribute(&found, name, device); error != cudaSuccess) {
    return Status::error(ErrorCode::kInternal, "cuda: the device's attribute %d: %s", static_cast<int>(name), cudaGetErrorString(error));
  }
  value = found != 0;
  return {};
}

Status refused(const char* what, size_t bytes, cudaError_t error) {
  (void)cudaGetLastError();  // the next launch is not to report it again
  return Status::error(ErrorCode::kUnsupported, "%s of %zu bytes failed: %s (%d)", what, bytes, cudaGetErrorString(error),
                       static_cast<int>(error));
}

}  // namespace

Result<HostAccess> probe_host_access() noexcept {
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) {
    (void)cudaGetLastError();
    return Status::error(ErrorCode::kInternal, "cuda: the current device: %s", cudaGetErrorString(error));
  }
  HostAccess access;
  PETS_RETURN_IF_ERROR(attribute(cudaDevAttrIntegrated, device, access.integrated));
  PETS_RETURN_IF_ERROR(attribute(cudaDevAttrPageableMemoryAccess, device, access.pageable));
  PETS_RETURN_IF_ERROR(attribute(cudaDevAttrHostRegisterSupported, device, access.registration));
  PETS_RETURN_IF_ERROR(attribute(cudaDevAttrHostRegisterReadOnlySupported, device, access.read_only_registration));
  return access;
}

RegisteredMemory& RegisteredMemory::operator=(RegisteredMemory&& other) noexcept {
  std::swap(pages_, other.pages_);
  std::swap(device_, other.device_);
  return *this;
}
RegisteredMemory::~RegisteredMemory() {
  if (pages_ == nullptr || cudaHostUnregister(pages_) == cudaSuccess) return;
  (void)cudaGetLastError();  // a device that was reset knows nothing of it: the next launch is not to report that
}

Result<RegisteredMemory> RegisteredMemory::create(std::span<const std::byte> bytes) noexcept {
  // Whole pages: a mapping has them, and a registration pins them anyway.
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)), begin = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t first = begin / page * page, end = (begin + bytes.size() + page - 1) / page * page;
  void* const pages = reinterpret_cast<void*>(first);
  RegisteredMemory memory;
  if (const cudaError_t error = cudaHostRegister(pages, end - first, cudaHostRegisterMapped | cudaHostRegisterReadOnly);
      error != cudaSuccess) {
    return refused("cudaHostRegister", end - first, error);
  }
  memory.pages_ = pages;
  void* device = nullptr;
  if (const cudaError_t error = cudaHostGetDevicePointer(&device, pages, 0); error != cudaSuccess) {
    return refused("cudaHostGetDevicePointer", end - first, error);
  }
  memory.device_ = static_cast<const std::byte*>(device) + (begin - first);
  return memory;
}

}  // namespace pets::cuda
