// The activation layout that every CPU kernel shares.
//
// A packed batch is cut into *strips* of 16 rows (tokens). A strip of F features is [F][16] floats: one feature of 16 rows is one
// cache line, so rows sit in vector lanes from the embeddings to the head, norms and softmax need no horizontal sums, and a
// weight is broadcast. Strips are 64-byte aligned. Lanes that hold no row are zero or garbage and never reach another lane.
//
// The rule of equal bits: every output element is ONE chain of fused multiply-adds (initial value, dense k ascending, then the task's
// deltas in stored order), so its value depends neither on its lane, nor on its neighbours, nor on the tile that computed it.
// Lanes are left out by blending, never by adding zeros (which would turn -0 into 0 and infinity into NaN).
#pragma once

#include <cstddef>
#include <cstdint>

namespace pets::kernels {

inline constexpr uint32_t kStripRows = 16;
inline constexpr uint32_t kPanelColumns = 16;

/// Bit i stands for row (lane) i of a strip.
using LaneMask = uint16_t;
inline constexpr LaneMask kAllLanes = 0xFFFF;

/// The lanes [begin, end), 0 <= begin <= end <= 16.
constexpr LaneMask lane_range(uint32_t begin, uint32_t end) {
  return static_cast<LaneMask>(((uint32_t{1} << end) - 1) & ~((uint32_t{1} << begin) - 1));
}

enum class WeightType : uint8_t { kFloat32, kFloat16, kBFloat16, kInt8 };

}  // namespace pets::kernels
