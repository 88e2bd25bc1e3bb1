// int8 dot products for AVX-512 without VNNI (Skylake-SP): as 16-bit integers, vpmaddwd and vpaddd. It has no vpsignb, which AVX2's way
// needs.
#define PETS_SIMD_NAMESPACE avx512

// Flags such as -march=native must not turn this file into another variant: better targets have smaller values.
#define HWY_DISABLED_TARGETS (HWY_AVX3 - 1)
#define HWY_DISABLE_PCLMUL_AES
#include "kernels/simd/highway_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/gemm/dot_avx512-inl.h"

static_assert(HWY_STATIC_TARGET == HWY_AVX3);

PETS_SIMD_BEGIN;
namespace pets::kernels::avx512 {
namespace {

struct Int8Unit {
  static constexpr WeightType kType = WeightType::kInt8;
  static constexpr bool kWide = true, kUnsigned = false;
  static constexpr int columns(int strips) { return avx512_columns(strips); }
  using Sums = Bits16;
  using Inputs = WordsOfRows;
  template <int>
  using Weights = BroadcastWords;

  static PETS_INLINE Bits16 dot(Bits16 sums, const Inputs& inputs, __m512i weight) {
    sums.v[0].raw = _mm512_add_epi32(sums.v[0].raw, _mm512_madd_epi16(inputs.value, weight));
    return sums;
  }
};

}  // namespace

void convert_strip(WeightType, const float* x, size_t k, void* out, float* scale) { convert_strip_with<Int8Unit>(x, k, out, scale); }
void dot_panel(const DotPanel& a) { dot_panel_with<Int8Unit>(a); }

}  // namespace pets::kernels::avx512
PETS_SIMD_END;
