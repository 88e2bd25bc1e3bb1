// bfloat16 dot products for Armv8.6 (Neoverse V3AE): bfdot, with the weights of four columns in a register. int8 goes to sdot.
//
// bfdot's sums round as the CPU chooses (with FPCR.EBF clear: to odd, and subnormals are zero), so bits differ from those of x86.
#define PETS_SIMD_NAMESPACE neon_bf16

// Scalable vectors cannot be held in arrays of registers, which all kernels here are made of; better targets have smaller values.
#define HWY_DISABLED_TARGETS (HWY_NEON - 1)
#include "kernels/simd/highway_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/cpu/variants.h"
#include "kernels/gemm/dot_tile-inl.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::neon_bf16 {
namespace {

struct Bfloat16Unit {
  static constexpr WeightType kType = WeightType::kBFloat16;
  static constexpr bool kWide = false, kUnsigned = false;
  /// 24 of 32 registers hold sums, 4 inputs, 2 weights.
  static constexpr int columns(int strips) { return strips == 1 ? 6 : 0; }
  using Sums = Rows16;

  struct Inputs {
    bfloat16x8_t value[kVectors];
    PETS_INLINE void load(const int32_t* p) { PETS_EACH_VECTOR value[i] = vreinterpretq_bf16_s32(vld1q_s32(p + i * vectors::kLanes)); }
  };
  struct Column {
    bfloat16x8_t words;
    int lane;
  };
  template <int kColumns>
  struct Weights {
    bfloat16x8_t words[(kColumns + 3) / 4];
    explicit PETS_INLINE Weights(const int32_t* p) {
      PETS_UNROLL for (int i = 0; i < (kColumns + 3) / 4; ++i) {
        words[i] = vreinterpretq_bf16_s8(vld1q_s8(reinterpret_cast<const int8_t*>(p + 4 * i)));
      }
    }
    PETS_INLINE Column column(int c) const { return {words[c / 4], c % 4}; }
  };
  static PETS_INLINE Rows16 dot(Rows16 sums, const Inputs& inputs, const Column& weight) {
    PETS_EACH_VECTOR sums.v[i].raw = dot_lane(sums.v[i].raw, inputs.value[i], weight);
    return sums;
  }
  /// The lane is a constant once the loops are unrolled.
  static PETS_INLINE float32x4_t dot_lane(float32x4_t sums, bfloat16x8_t inputs, const Column& weight) {
    switch (weight.lane) {
      case 0:
        return vbfdotq_laneq_f32(sums, inputs, weight.words, 0);
      case 1:
        return vbfdotq_laneq_f32(sums, inputs, weight.words, 1);
      case 2:
        return vbfdotq_laneq_f32(sums, inputs, weight.words, 2);
      default:
        return vbfdotq_laneq_f32(sums, inputs, weight.words, 3);
    }
  }
};

}  // namespace

void convert_strip(WeightType type, const float* x, size_t k, void* out, float* scale) {
  if (type == WeightType::kInt8) {
    neon_dot::convert_strip(type, x, k, out, scale);
  } else {
    convert_strip_with<Bfloat16Unit>(x, k, out, scale);
  }
}
void dot_panel(const DotPanel& a) { a.type == WeightType::kInt8 ? neon_dot::dot_panel(a) : dot_panel_with<Bfloat16Unit>(a); }

}  // namespace pets::kernels::neon_bf16
PETS_SIMD_END;
