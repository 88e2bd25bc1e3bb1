// int8 dot products for Armv8.2 (Cortex-A78AE, Neoverse N1): sdot, with the weights of four columns in a register and the column named by
// the instruction, so that nothing is broadcast.
#define PETS_SIMD_NAMESPACE neon_dot

// Scalable vectors cannot be held in arrays of registers, which all kernels here are made of; better targets have smaller values.
#define HWY_DISABLED_TARGETS (HWY_NEON - 1)
#include "kernels/simd/highway_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/cpu/variants.h"
#include "kernels/gemm/dot_tile-inl.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::neon_dot {
namespace {

struct Int8Unit {
  static constexpr WeightType kType = WeightType::kInt8;
  static constexpr bool kWide = false, kUnsigned = false;
  /// 24 of 32 registers hold sums, 4 inputs, 2 weights.
  static constexpr int columns(int strips) { return strips == 1 ? 6 : 0; }
  using Sums = Bits16;

  struct Inputs {
    int8x16_t value[kVectors];
    PETS_INLINE void load(const int32_t* p) { PETS_EACH_VECTOR value[i] = vreinterpretq_s8_s32(vld1q_s32(p + i * vectors::kLanes)); }
  };
  struct Column {
    int8x16_t words;
    int lane;
  };
  template <int kColumns>
  struct Weights {
    int8x16_t words[(kColumns + 3) / 4];
    explicit PETS_INLINE Weights(const int32_t* p) {
      PETS_UNROLL for (int i = 0; i < (kColumns + 3) / 4; ++i) words[i] = vld1q_s8(reinterpret_cast<const int8_t*>(p + 4 * i));
    }
    PETS_INLINE Column column(int c) const { return {words[c / 4], c % 4}; }
  };
  static PETS_INLINE Bits16 dot(Bits16 sums, const Inputs& inputs, const Column& weight) {
    PETS_EACH_VECTOR sums.v[i].raw = dot_lane(sums.v[i].raw, inputs.value[i], weight);
    return sums;
  }
  /// The lane is a constant once the loops are unrolled.
  static PETS_INLINE int32x4_t dot_lane(int32x4_t sums, int8x16_t inputs, const Column& weight) {
    switch (weight.lane) {
      case 0:
        return vdotq_laneq_s32(sums, inputs, weight.words, 0);
      case 1:
        return vdotq_laneq_s32(sums, inputs, weight.words, 1);
      case 2:
        return vdotq_laneq_s32(sums, inputs, weight.words, 2);
      default:
        return vdotq_laneq_s32(sums, inputs, weight.words, 3);
    }
  }
};

void convert_strip(WeightType, const float* x, size_t k, void* out, float* scale) { convert_strip_with<Int8Unit>(x, k, out, scale); }
void dot_panel(const DotPanel& a) { dot_panel_with<Int8Unit>(a); }

}  // namespace

const DotKernels kDots = {false, 1, 1, 1, convert_strip, dot_panel, nullptr, nullptr};

}  // namespace pets::kernels::neon_dot
PETS_SIMD_END;
