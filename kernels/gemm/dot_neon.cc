// int8 dot products for the baseline of 64-bit ARM (Cortex-A72): smull and smlal add two products in 16 bits (at most 2 * 127 * 127 =
// 32258, exact), sadalp adds neighbours to 32-bit sums. Three instructions for 16 products.
#define PETS_SIMD_NAMESPACE neon

// Scalable vectors cannot be held in arrays of registers, which all kernels here are made of; better targets have smaller values.
#define HWY_DISABLED_TARGETS (HWY_NEON - 1)
#include "kernels/simd/highway_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/gemm/dot_tile-inl.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::neon {
namespace {

struct Int8Unit {
  static constexpr WeightType kType = WeightType::kInt8;
  static constexpr bool kWide = false, kUnsigned = false;
  /// 20 of 32 registers hold sums, 4 inputs, 2 a weight; with 24 the compiler has too few for the products and spills.
  static constexpr int columns(int strips) { return strips == 1 ? 5 : 0; }
  using Sums = Bits16;

  /// In each register the first two inputs of four rows, then their last two.
  struct Inputs {
    int8x16_t value[kVectors];
    PETS_INLINE void load(const int32_t* p) {
      PETS_EACH_VECTOR {
        const int32x4_t words = vld1q_s32(p + i * vectors::kLanes);
        value[i] = vreinterpretq_s8_s16(vcombine_s16(vmovn_s32(words), vshrn_n_s32(words, 16)));
      }
    }
  };
  struct Column {
    int8x16_t first_two, last_two;  ///< all over
  };
  template <int kColumns>
  struct Weights {
    const int16_t* p;
    explicit PETS_INLINE Weights(const int32_t* words) : p(reinterpret_cast<const int16_t*>(words)) {}
    PETS_INLINE Column column(int c) const {
      return {vreinterpretq_s8_s16(vld1q_dup_s16(p + 2 * c)), vreinterpretq_s8_s16(vld1q_dup_s16(p + 2 * c + 1))};
    }
  };
  static PETS_INLINE Bits16 dot(Bits16 sums, const Inputs& inputs, const Column& weight) {
    PETS_EACH_VECTOR {
      const int16x8_t twos = vmull_s8(vget_low_s8(inputs.value[i]), vget_low_s8(weight.first_two));
      sums.v[i].raw = vpadalq_s16(sums.v[i].raw, vmlal_high_s8(twos, inputs.value[i], weight.last_two));
    }
    return sums;
  }
};

}  // namespace

void convert_strip(WeightType, const float* x, size_t k, void* out, float* scale) { convert_strip_with<Int8Unit>(x, k, out, scale); }
void dot_panel(const DotPanel& a) { dot_panel_with<Int8Unit>(a); }

}  // namespace pets::kernels::neon
PETS_SIMD_END;
