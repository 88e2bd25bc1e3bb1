// Memory of the host that a device reads where it lies. Implemented over CUDA (mapped_memory_cuda.cc), and for tests without a GPU
// (emulation/mapped_memory_emulated.cc).
#pragma once

#include <cstddef>
#include <span>

#include "pets/status.h"

namespace pets::cuda {

/// What the device can do with memory of the host (cudaDeviceGetAttribute).
struct HostAccess {
  bool integrated = false;              ///< has no memory of its own (Jetson): what it reads of the host's does not cross a bus
  bool pageable = false;                ///< reads whatever the process may read, mapped files included, without being told
  bool registration = false;            ///< reads what is registered with it
  bool read_only_registration = false;  ///< also where the process itself may not write, as in a mapped bundle
};

/// Of the device that probe_device found.
Result<HostAccess> probe_host_access() noexcept;

/// Memory of the process that is pinned, and mapped for the device to read, as long as the object lives. Movable.
class RegisteredMemory {
 public:
  RegisteredMemory() = default;
  RegisteredMemory(RegisteredMemory&& other) noexcept { *this = static_cast<RegisteredMemory&&>(other); }
  RegisteredMemory& operator=(RegisteredMemory&& other) noexcept;
  ~RegisteredMemory();
  /// `bytes` may be read-only. The pages that it lies on are pinned whole.
  static Result<RegisteredMemory> create(std::span<const std::byte> bytes) noexcept;

  /// Where the device finds the first of the bytes.
  const std::byte* device() const { return device_; }

 private:
  void* pages_ = nullptr;
  const std::byte* device_ = nullptr;
};

}  // namespace pets::cuda
