// int8 dot products for AVX2, which has none: vpmaddubsw multiplies unsigned by signed bytes and adds two products in 16 bits, with
// saturation. Unsigned are the magnitudes of the inputs; their signs move to the weights. Values are in [-127, 127], so two products are at
// most 2 * 127 * 127 = 32258 and nothing saturates.
#define PETS_SIMD_NAMESPACE avx2

// Flags such as -march=native must not turn this file into another variant: better targets have smaller values.
#define HWY_DISABLED_TARGETS (HWY_AVX2 - 1)
#define HWY_DISABLE_PCLMUL_AES
#include "kernels/simd/highway_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/gemm/dot_tile-inl.h"

static_assert(HWY_STATIC_TARGET == HWY_AVX2);

PETS_SIMD_BEGIN;
namespace pets::kernels::avx2 {
namespace {

// Four instructions for 32 products, as many as with 16-bit integers (two vpmaddwd, two vpaddd), but the inputs take half the cache, the
// weights are read as they are, and there are fewer broadcasts. On Zen 3 two of the four go to two ports, two to any of four: one a cycle.
struct Int8Unit {
  static constexpr WeightType kType = WeightType::kInt8;
  static constexpr bool kWide = false, kUnsigned = false;
  /// 8 of the 16 registers hold sums, 4 the inputs, 1 the ones, 3 weights and products.
  static constexpr int columns(int strips) { return strips == 1 ? 4 : 0; }
  using Sums = Bits16;

  struct Inputs {
    __m256i value[2], magnitude[2];
    PETS_INLINE void load(const int32_t* p) {
      PETS_UNROLL for (int i = 0; i < 2; ++i) {
        value[i] = _mm256_load_si256(reinterpret_cast<const __m256i*>(p) + i);
        magnitude[i] = _mm256_abs_epi8(value[i]);
      }
    }
  };
  template <int kColumns>
  struct Weights {
    const int32_t* p;
    explicit PETS_INLINE Weights(const int32_t* words) : p(words) {}
    PETS_INLINE __m256i column(int c) const {
      int32_t word;
      __builtin_memcpy(&word, p + c, sizeof word);
      return _mm256_set1_epi32(word);
    }
  };
  static PETS_INLINE Bits16 dot(Bits16 sums, const Inputs& inputs, __m256i weight) {
    const __m256i ones = _mm256_set1_epi16(1);
    PETS_UNROLL for (int i = 0; i < 2; ++i) {
      const __m256i twos = _mm256_maddubs_epi16(inputs.magnitude[i], _mm256_sign_epi8(weight, inputs.value[i]));
      sums.v[i].raw = _mm256_add_epi32(sums.v[i].raw, _mm256_madd_epi16(twos, ones));
    }
    return sums;
  }
};

}  // namespace

void convert_strip(WeightType, const float* x, size_t k, void* out, float* scale) { convert_strip_with<Int8Unit>(x, k, out, scale); }
void dot_panel(const DotPanel& a) { dot_panel_with<Int8Unit>(a); }

}  // namespace pets::kernels::avx2
PETS_SIMD_END;
