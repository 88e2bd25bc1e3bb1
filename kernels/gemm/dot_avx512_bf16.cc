// bfloat16 dot products for AVX-512 with BF16 and BITALG (Sapphire Rapids, Zen 4, and later): vdpbf16ps. int8 goes to VNNI, which these
// CPUs have.
//
// vdpbf16ps adds the odd input's product first, then the even one's, rounds each sum to nearest even, and takes subnormals as zero, inputs
// and results.
#define PETS_SIMD_NAMESPACE avx512_bf16

// Flags such as -march=native must not turn this file into another variant: better targets have smaller values.
#define HWY_DISABLED_TARGETS (HWY_AVX3 - 1)
#define HWY_DISABLE_PCLMUL_AES
#include "kernels/simd/highway_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/attention/bfloat_attention-inl.h"
#include "kernels/cpu/variants.h"
#include "kernels/gemm/dot_avx512-inl.h"

static_assert(HWY_STATIC_TARGET == HWY_AVX3);

PETS_SIMD_BEGIN;
namespace pets::kernels::avx512_bf16 {
namespace {

/// Of each byte of a panel's 16 words, from each even input on: the bit of its input in the planes of its pair of columns.
struct PlaneBits {
  alignas(64) uint8_t bit[32 / 2][64] = {};
  constexpr PlaneBits() {
    for (uint32_t pair = 0; pair < 32 / 2; ++pair) {
      for (uint32_t byte = 0; byte < 64; ++byte) {
        const uint32_t odd_column = byte / 4 % 2, input = 2 * pair + byte / 2 % 2;
        bit[pair][byte] = static_cast<uint8_t>(32 * odd_column + 31 - input);
      }
    }
  }
};
constexpr PlaneBits kPlaneBits;

struct Bfloat16Unit {
  static constexpr WeightType kType = WeightType::kBFloat16;
  static constexpr bool kWide = false, kUnsigned = false;
  static constexpr int columns(int strips) { return avx512_columns(strips); }
  using Sums = Rows16;
  using Inputs = WordsOfRows;
  template <int>
  using Weights = BroadcastWords;

  /// Which takes subnormals as zero, as the products do.
  static PETS_INLINE Bits16 word(const Rows16& even, const Rows16& odd) {
    alignas(64) static constexpr uint16_t kTogether[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                           8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const auto halves = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd.v[0].raw, even.v[0].raw));
    Bits16 words;
    words.v[0].raw = _mm512_permutexvar_epi16(_mm512_load_si512(kTogether), halves);
    return words;
  }
  static PETS_INLINE void store_bfloats(const Rows16& rows, uint16_t* out) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(out), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(rows.v[0].raw)));
  }
  static PETS_INLINE void join(const uint16_t* first, uint32_t from, const uint16_t* second, uint32_t count, uint16_t* out) {
    // What is masked off is not read, wherever it would lie.
    const auto wanted = static_cast<__mmask16>(lane_range(0, count)),
               upper = static_cast<__mmask16>(lane_range(kStripRows - from, kStripRows));
    const __m256i begin = _mm256_maskz_loadu_epi16(wanted & ~upper, first + from);
    _mm256_store_si256(reinterpret_cast<__m256i*>(out), _mm256_mask_loadu_epi16(begin, wanted & upper, second + from - kStripRows));
  }
  static PETS_INLINE Rows16 dot(Rows16 sums, const Inputs& inputs, __m512i weight) {
    sums.v[0].raw = _mm512_dpbf16_ps(sums.v[0].raw, reinterpret_cast<__m512bh>(inputs.value), reinterpret_cast<__m512bh>(weight));
    return sums;
  }
  /// keep_inputs by one instruction: 0.02 to 0.1 of the peak.
  static PETS_INLINE Bits16 load_kept(const Bits16& planes, uint32_t input, const uint32_t* words) {
    const __mmask64 kept = _mm512_bitshuffle_epi64_mask(planes.v[0].raw, _mm512_load_si512(kPlaneBits.bit[input / 2]));
    Bits16 columns;
    columns.v[0].raw = _mm512_maskz_loadu_epi8(kept, words);
    return columns;
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

const DotKernels kDots = {true, 1, kMostDotPanels, kAnyPanels, convert_strip, dot_panel, nullptr, nullptr, &kBfloatAttention<Bfloat16Unit>};

}  // namespace pets::kernels::avx512_bf16
PETS_SIMD_END;
