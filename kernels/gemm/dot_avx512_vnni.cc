// int8 dot products for AVX-512 with VNNI (Cascade Lake, Zen 4 and later): vpdpbusd multiplies unsigned by signed bytes, so 128 is added to
// the inputs, and 128 times a column's weights taken off its sums.
#define PETS_SIMD_NAMESPACE avx512_vnni

// Flags such as -march=native must not turn this file into another variant: better targets have smaller values.
#define HWY_DISABLED_TARGETS (HWY_AVX3 - 1)
#define HWY_DISABLE_PCLMUL_AES
#include "kernels/simd/highway_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/cpu/variants.h"
#include "kernels/gemm/dot_avx512-inl.h"

static_assert(HWY_STATIC_TARGET == HWY_AVX3);

PETS_SIMD_BEGIN;
namespace pets::kernels::avx512_vnni {
namespace {

struct Int8Unit {
  static constexpr WeightType kType = WeightType::kInt8;
  static constexpr bool kWide = false, kUnsigned = true;
  static constexpr int columns(int strips) { return avx512_columns(strips); }
  using Sums = Bits16;
  using Inputs = WordsOfRows;
  template <int>
  using Weights = BroadcastWords;

  static PETS_INLINE Bits16 dot(Bits16 sums, const Inputs& inputs, __m512i weight) {
    sums.v[0].raw = _mm512_dpbusd_epi32(sums.v[0].raw, inputs.value, weight);
    return sums;
  }
  static PETS_INLINE Bits16 dot_columns(Bits16 sums, int32_t input, const Bits16& weights) {
    // The intrinsic's sums are moved between registers and stored in every step (gcc 12).
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sums.v[0].raw) : "v"(_mm512_set1_epi32(input)), "v"(weights.v[0].raw));
    return sums;
  }
  static PETS_INLINE Bits16 load_kept(const Bits16& planes, uint32_t input, const uint32_t* words) {
    return keep_inputs<4>(planes, input, load_bits_unaligned(words));
  }
  static PETS_INLINE Bits16 column_sums(Bits16 sums, const Bits16& words) {
    sums.v[0].raw = _mm512_dpbusd_epi32(sums.v[0].raw, _mm512_set1_epi8(1), words.v[0].raw);
    return sums;
  }
};

void convert_strip(WeightType, const float* x, size_t k, void* out, float* scale) { convert_strip_with<Int8Unit>(x, k, out, scale); }
void dot_panel(const DotPanel& a) { avx512_dot_panel<Int8Unit>(a); }

}  // namespace

const DotKernels kDots = {false, 1, kMostDotPanels, kAnyPanels, convert_strip, dot_panel, nullptr, nullptr};

}  // namespace pets::kernels::avx512_vnni
PETS_SIMD_END;
