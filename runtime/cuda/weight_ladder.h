// Where the device reads the weights of a base that was packed for it: host page tables, a registered mapping, or a copy, whichever first
// serves. Probed at run time.
#pragma once

#include <string>

#include "pets/types.h"
#include "runtime/cuda/mapped_memory.h"
#include "runtime/engine/weights.h"

namespace pets::cuda {

/// The bytes of a base's segment as the device sees them. Movable; the segment must outlive it.
class WeightMapping {
 public:
  /// The device sees none: everything is to be copied.
  WeightMapping() = default;
  /// Takes the first step that serves, or the one that is asked for, which fails where bundle or device do not allow it.
  static Result<WeightMapping> open(const engine::BaseWeights& base, WeightMemory wanted, const HostAccess& access);
  /// The step that `open` will take, as far as can be told before: a registration may yet be refused, then it is a copy.
  static Result<WeightMemory> expected(const engine::BaseWeights& base, WeightMemory wanted, const HostAccess& access);
  /// For counting: as if the device read the segment where it lies.
  static WeightMapping in_place(const engine::BaseWeights& base);

  WeightMemory memory() const { return memory_; }
  const std::string& reason() const { return reason_; }

  /// Where the device finds something of the segment; null where it sees nothing of it.
  template <class V>
  const V* find(const V* host) const {
    if (device_ == nullptr) return nullptr;
    return reinterpret_cast<const V*>(device_ + (reinterpret_cast<const std::byte*>(host) - host_));
  }

 private:
  WeightMemory memory_ = WeightMemory::kCopy;
  std::string reason_;
  RegisteredMemory registered_;
  const std::byte *host_ = nullptr, *device_ = nullptr;
};

}  // namespace pets::cuda
