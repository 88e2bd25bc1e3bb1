// Copies from global to shared memory that go on while their thread computes (cp.async): no registers hold what is on its way.
#pragma once

#include "kernels/cuda/device.h"

#if defined(PETS_EMULATED_CUDA)
#include <cstring>
#include <utility>
#include <vector>
#endif

namespace pets::kernels::cuda {

inline constexpr unsigned kCopyBytes = 16;  ///< the widest copy, which leaves L1 to others

#if defined(PETS_EMULATED_CUDA)
/// Of shared memory; `+` moves it by bytes. Made once, it saves every copy the conversion.
using SharedAddress = std::byte*;
inline SharedAddress shared_address(void* pointer) { return static_cast<std::byte*>(pointer); }

inline void ask_into_l2(const void* /*from*/) {}

/// Of one thread. What it wrote is seen by others after wait and a barrier. Emulated as late as the order of groups allows, so that a
/// missing wait shows.
class AsyncCopies {
 public:
  /// 16 bytes, both ends 16-byte aligned. Where not `valid`, `from` is not read: zeros are written.
  void copy(SharedAddress to, const void* from, bool valid) { open_.push_back({to, valid ? from : nullptr}); }
  /// What was copied since the last commit is a group, maybe an empty one.
  void commit() {
    groups_.push_back(std::move(open_));
    open_.clear();
  }
  /// Until no more than the last kGroups groups are on their way.
  template <unsigned kGroups>
  void wait() {
    while (groups_.size() > kGroups) {
      for (const Copy& copy : groups_.front()) {
        if (copy.from == nullptr) {
          std::memset(copy.to, 0, kCopyBytes);
        } else {
          std::memcpy(copy.to, copy.from, kCopyBytes);
        }
      }
      groups_.erase(groups_.begin());
    }
  }

 private:
  struct Copy {
    SharedAddress to;
    const void* from;
  };
  std::vector<Copy> open_;
  std::vector<std::vector<Copy>> groups_;
};
#elif defined(__CUDACC__)
using SharedAddress = unsigned;
__device__ __forceinline__ SharedAddress shared_address(void* pointer) { return static_cast<unsigned>(__cvta_generic_to_shared(pointer)); }

/// The 128 bytes around `from`, which is global memory that may be read: into L2, where a copy finds them later.
__device__ __forceinline__ void ask_into_l2(const void* from) { asm volatile("prefetch.global.L2 [%0];" : : "l"(from)); }

class AsyncCopies {
 public:
  __device__ __forceinline__ void copy(SharedAddress to, const void* from, bool valid) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" : : "r"(to), "l"(from), "r"(valid ? kCopyBytes : 0) : "memory");
  }
  __device__ __forceinline__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <unsigned kGroups>
  __device__ __forceinline__ void wait() {
    asm volatile("cp.async.wait_group %0;" : : "n"(kGroups) : "memory");
  }
};
#endif

}  // namespace pets::kernels::cuda
