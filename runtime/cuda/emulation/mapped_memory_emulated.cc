// A stand-in for what CUDA does with the host's memory, for tests. Registered memory is found elsewhere by the device, as CUDA allows: a
// pointer that nobody translates is a wrong one. So it is a copy, which no reader can tell from the original.
#include <cstring>
#include <new>
#include <utility>

#include "runtime/cuda/emulation/emulated_host.h"

namespace pets::cuda {
namespace {

constexpr std::align_val_t kPage{4096};

}  // namespace

EmulatedHost& emulated_host() {
  static EmulatedHost host;
  return host;
}

Result<HostAccess> probe_host_access() noexcept { return emulated_host().access; }

RegisteredMemory& RegisteredMemory::operator=(RegisteredMemory&& other) noexcept {
  std::swap(pages_, other.pages_);
  std::swap(device_, other.device_);
  return *this;
}
RegisteredMemory::~RegisteredMemory() {
  if (pages_ == nullptr) return;
  ::operator delete(pages_, kPage);
  --emulated_host().registered;
}

Result<RegisteredMemory> RegisteredMemory::create(std::span<const std::byte> bytes) noexcept {
  RegisteredMemory memory;
  if (emulated_host().registration_fails) {
    return Status::error(ErrorCode::kUnsupported, "the emulated registration of %zu bytes failed", bytes.size());
  }
  memory.pages_ = ::operator new(bytes.size(), kPage, std::nothrow);
  if (memory.pages_ == nullptr) return Status::error(ErrorCode::kResourceExhausted, "cannot allocate %zu bytes", bytes.size());
  ++emulated_host().registered;
  std::memcpy(memory.pages_, bytes.data(), bytes.size());
  memory.device_ = static_cast<const std::byte*>(memory.pages_);
  return memory;
}

}  // namespace pets::cuda
