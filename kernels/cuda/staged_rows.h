// Rows of operands on their way to shared memory, some steps of the depth at a time, for warps that multiply them from there.
#pragma once

#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/warp_operand.h"

namespace pets::kernels::cuda {

inline constexpr unsigned kStagedSteps = 2;  ///< of kDepth, between two barriers

/// As they lie in shared memory. Rows of a step lie one after another without padding: lanes that read an operand together read
/// neighbouring bytes.
template <class T, unsigned kRows>
using StagedRows = T[kStagedSteps][kRows * kDepth];

/// A thread's part of copying kRows rows to stages, by a block of kThreads. Values beyond the depth are not read: zeros stand for them.
/// Rows beyond `valid_rows` are left as they are in shared memory, since what is made of them is not stored.
template <class T, unsigned kRows, unsigned kThreads>
class RowCopies {
 public:
  /// to: the first stage's. from: the first row's first value, 16-byte aligned, as is each row.
  __device__ __forceinline__ RowCopies(StagedRows<T, kRows>& to, const T* from, unsigned stride, unsigned valid_rows)
      : from_(reinterpret_cast<const std::byte*>(opaque(from + first() * stride + depth()))),
        to_(shared_address(&to[step()][first() * kDepth + depth() % kDepth])),
        row_bytes_(stride * sizeof(T)),
        rows_(first() < valid_rows ? valid_rows - first() : 0) {}

  /// at: of the depth, a multiple of kStagedSteps * kDepth, as deep as `in`, a multiple of 16. stage: offset in bytes.
  __device__ __forceinline__ void copy(AsyncCopies& copies, unsigned stage, unsigned at, unsigned in) const {
    const std::byte* const from = from_ + at * sizeof(T);
    const bool valid = at + depth() < in;
#pragma unroll
    for (unsigned i = 0; i < kRows; i += kRowsAtOnce) {
      if (i < rows_) copies.copy(to_ + stage + i * kDepth * sizeof(T), from + static_cast<uint64_t>(row_bytes_) * i, valid);
    }
  }

 private:
  static constexpr unsigned kValues = kCopyBytes / sizeof(T), kStepCopies = kDepth / kValues;
  static constexpr unsigned kRowsAtOnce = kThreads / (kStagedSteps * kStepCopies);
  /// Of neighbours, of which eight lanes that write together write one step; they write the other step of the next ones: all banks.
  static constexpr unsigned kNeighbours = sizeof(T) == 1 ? 2 : 1, kNeighbourCopies = kNeighbours * kStepCopies;
  static_assert(kStagedSteps == 2 && kRowsAtOnce % (2 * kNeighbours) == 0 && kRows % kRowsAtOnce == 0);
  __device__ static unsigned step() { return threadIdx.x / kNeighbourCopies % kStagedSteps; }
  __device__ static unsigned first() {
    const unsigned group = threadIdx.x / (4 * kNeighbourCopies) * 2 + (threadIdx.x / (2 * kNeighbourCopies) + step()) % 2;
    return group * kNeighbours + threadIdx.x / kStepCopies % kNeighbours;
  }
  __device__ static unsigned depth() { return step() * kDepth + threadIdx.x % kStepCopies * kValues; }

  const std::byte* from_;
  SharedAddress to_;
  unsigned row_bytes_, rows_;
};

}  // namespace pets::kernels::cuda
