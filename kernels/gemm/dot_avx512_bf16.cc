// bfloat16 dot products for AVX-512 with BF16 (Cooper Lake, Sapphire Rapids, Zen 4): vdpbf16ps. int8 goes to VNNI, which these CPUs have.
//
// vdpbf16ps adds the odd input's product first, then the even one's, rounds each sum to nearest even, and takes subnormals as zero, inputs
// and results. Inputs are rounded by integer operations, which keep subnormals (vcvtneps2bf16 would not).
#define PETS_SIMD_NAMESPACE avx512_bf16

// Flags such as -march=native must not turn this file into another variant: better targets have smaller values.
#define HWY_DISABLED_TARGETS (HWY_AVX3 - 1)
#define HWY_DISABLE_PCLMUL_AES
#include "kernels/simd/highway_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/cpu/variants.h"
#include "kernels/gemm/dot_avx512-inl.h"

static_assert(HWY_STATIC_TARGET == HWY_AVX3);

PETS_SIMD_BEGIN;
namespace pets::kernels::avx512_bf16 {
namespace {

struct Bfloat16Unit {
  static constexpr WeightType kType = WeightType::kBFloat16;
  static constexpr bool kWide = false, kUnsigned = false;
  static constexpr int columns(int strips) { return avx512_columns(strips); }
  using Sums = Rows16;
  using Inputs = WordsOfRows;
  template <int>
  using Weights = BroadcastWords;

  static PETS_INLINE Rows16 dot(Rows16 sums, const Inputs& inputs, __m512i weight) {
    sums.v[0].raw = _mm512_dpbf16_ps(sums.v[0].raw, reinterpret_cast<__m512bh>(inputs.value), reinterpret_cast<__m512bh>(weight));
    return sums;
  }
  static PETS_INLINE Rows16 dot_columns(Rows16 sums, int32_t input, const Bits16& weights) {
    sums.v[0].raw =
        _mm512_dpbf16_ps(sums.v[0].raw, reinterpret_cast<__m512bh>(_mm512_set1_epi32(input)), reinterpret_cast<__m512bh>(weights.v[0].raw));
    return sums;
  }
};

void convert_strip(WeightType type, const float* x, size_t k, void* out, float* scale) {
  if (type == WeightType::kInt8) {
    avx512_vnni::kDots.convert_strip(type, x, k, out, scale);
  } else {
    convert_strip_with<Bfloat16Unit>(x, k, out, scale);
  }
}
void dot_panel(const DotPanel& a) {
  if (a.type == WeightType::kInt8) return avx512_vnni::kDots.dot_panel(a);
  avx512_dot_panel<Bfloat16Unit>(a);
}

}  // namespace

const DotKernels kDots = {true, 1, 1, kAnyPanels, convert_strip, dot_panel, nullptr, nullptr};

}  // namespace pets::kernels::avx512_bf16
PETS_SIMD_END;
