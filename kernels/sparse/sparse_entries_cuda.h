// A warp's sparse entries on their way from global to shared memory, round after round, for the kernel beside this.
#pragma once

#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/task_operators.h"

#if defined(PETS_EMULATED_CUDA)
#include <cstring>
#endif

namespace pets::kernels::cuda {

/// Of a warp's entries, in shared memory: one is computed with, the others are on their way. Each pass of the encoder reads
/// other entries, so they come from DRAM: all five rounds of a panel of 768 inputs with 1 % of the entries are asked for at once.
inline constexpr unsigned kRoundSlots = 6;

/// In words: taken apart only when they are used, so that until then nobody waits for them.
struct alignas(kSparseGroupEntries * sizeof(uint16_t)) GroupPlaces {
  uint32_t pairs[kSparseGroupEntries / 2];
  __device__ __forceinline__ unsigned of(unsigned i) const { return i % 2 == 0 ? pairs[i / 2] & kSparsePlaceMask : pairs[i / 2] >> 16; }
  __device__ __forceinline__ unsigned column() const {
    return (pairs[0] >> kSparsePlaceBits & 7) | (pairs[1] >> (kSparsePlaceBits - 3) & 0x18);
  }
  __device__ __forceinline__ bool last() const { return (pairs[1] & kSparseLastBit) != 0; }
};
struct alignas(kSparseGroupEntries * sizeof(float)) GroupValues {
  float of[kSparseGroupEntries];
};

/// A group of every run.
struct Round {
  GroupPlaces places[kSparseRuns];
  GroupValues values[kSparseRuns];
};
inline constexpr unsigned kPlaceCopies = sizeof(Round::places) / kCopyBytes, kRoundCopies = sizeof(Round) / kCopyBytes;
static_assert(kRoundCopies <= kWarpSize);

/// From shared memory, 8 or 16 bytes. What is loaded before a barrier of the warp is on its way together: the compiler would move other
/// loads, each to the first use of its value.
template <class V>
__device__ __forceinline__ V load_shared(SharedAddress from) {
  V value;
#if defined(PETS_EMULATED_CUDA)
  std::memcpy(static_cast<void*>(&value), from, sizeof value);
#elif defined(__CUDACC__)
  static_assert(sizeof value == sizeof(uint2) || sizeof value == sizeof(uint4));
  if constexpr (sizeof value == sizeof(uint2)) {
    uint2& words = *reinterpret_cast<uint2*>(&value);
    asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];" : "=r"(words.x), "=r"(words.y) : "r"(from) : "memory");
  } else {
    uint4& words = *reinterpret_cast<uint4*>(&value);
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
                 : "r"(from)
                 : "memory");
  }
#endif
  return value;
}

/// A panel of a warp, in shared memory.
struct WarpPanel {
  const std::byte* sources[2];  // the first round's places and values
  uint16_t rounds, continued;   // as in SparsePanel
  uint32_t output;              // its first column, of all sites; for each eight columns that follow the first eight, 1 more

  __device__ __forceinline__ unsigned first_column() const { return output & ~7U; }
  __device__ __forceinline__ unsigned columns() const { return (output % 8 + 1) * 8; }
};
inline constexpr unsigned kWarpPanels = 16;  // of a warp, at most

/// A warp's entries on their way to its shared memory, round after round through all of its panels. By all lanes of the warp together.
class Entries {
 public:
  /// linears: of the tile's task. `panels` of a site. Those of `first`, `first` + `step`, ... below `end`, counted through all sites, that
  /// have entries; at most kWarpPanels, to `to`.
  __device__ __forceinline__ void find(const TaskLinear* linears, unsigned panels, unsigned out, unsigned first, unsigned step,
                                       unsigned end, WarpPanel* to) {
    const unsigned lane = threadIdx.x % kWarpSize, index = first + lane * step;
    SparsePanel panel;
    WarpPanel own;
    if (index < end) {
      unsigned site = 0, of_site = index;
      for (; of_site >= panels; of_site -= panels) ++site;
      const unsigned column = of_site * kSparsePanelColumns, left = out - column;
      const SparsePanel* const headers = linears[site].sparse_panels;
      own.sources[0] = reinterpret_cast<const std::byte*>(linears[site].sparse_places);
      own.sources[1] = reinterpret_cast<const std::byte*>(linears[site].sparse_values);
      own.output = site * out + column + (left < kSparsePanelColumns ? left / 8 : kSparsePanelColumns / 8) - 1;
      if (headers != nullptr) panel = headers[of_site];
    }
    const unsigned found = __ballot_sync(kAllLanes, panel.rounds != 0);
    if (panel.rounds != 0) {
      own.sources[0] += panel.first_group * uint64_t{sizeof(GroupPlaces)};
      own.sources[1] += panel.first_group * uint64_t{sizeof(GroupValues)};
      own.rounds = panel.rounds;
      own.continued = panel.continued;
      to[__popc(found & ((1U << lane) - 1))] = own;
    }
    lane_bytes_ = opaque<unsigned>(lane * kCopyBytes);
    panels_ = to;
    end_ = to + __popc(found);
    __syncwarp();
  }
  __device__ __forceinline__ const WarpPanel* end() const { return end_; }

  /// The next round, if there is one, to a slot that no lane reads any more; always a group of copies.
  __device__ __forceinline__ void copy(AsyncCopies& copies, SharedAddress slot) {
    const unsigned lane = threadIdx.x % kWarpSize;
    const bool of_places = lane < kPlaceCopies;
    if (left_ == 0 && panels_ != end_) {
      left_ = panels_->rounds;
      from_ = panels_->sources[of_places ? 0 : 1] + (of_places ? lane_bytes_ : lane_bytes_ - sizeof(Round::places));
      ++panels_;
    }
    if (left_ != 0 && lane < kRoundCopies) copies.copy(slot + lane_bytes_, from_, true);
    copies.commit();
    if (left_ == 0) return;
    from_ += of_places ? sizeof(Round::places) : sizeof(Round::values);
    --left_;
  }

 private:
  const WarpPanel *panels_ = nullptr, *end_ = nullptr;  // those that were not begun
  unsigned lane_bytes_ = 0;                             // of a round, before the lane's
  unsigned left_ = 0;                                   // rounds of the one that was begun last
  const std::byte* from_ = nullptr;                     // the lane's part of the next one
};

}  // namespace pets::kernels::cuda
