// int8 dot products for AVX2, which has none: vpmaddubsw multiplies unsigned by signed bytes and adds two products in 16 bits, with
// saturation. So 128 is added to the inputs, and 128 times a column's weights taken off its sums; the layout of the weights promises that
// two neighbours add up to 128 at most (gemm/panel_layout.h). The inputs are at most 255: two products of one sign are at most 255 * 128 =
// 32640, of two signs 255 * 127, and nothing saturates.
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

// Three instructions for 32 products. Left to itself, gcc 12 moves sums between registers, and spills four of them where the columns are
// summed as well; so a column's instructions are spelled out, and the inputs' loads stay before them. Four columns of two half strips: 31
// instructions a step for 24 that multiply and add, 6 loads. Zen 3 multiplies in two of its four ports: 16 in 8 cycles.
struct Int8Unit {
  static constexpr WeightType kType = WeightType::kInt8;
  static constexpr bool kWide = false, kUnsigned = true;
  static constexpr int kUnrolled = 4;
  /// 8 of the 16 registers hold sums, 2 the inputs, 2 weights and products, 1 the ones; 3 more sum the columns.
  static constexpr int columns(int strips) { return strips == 1 ? 4 : 0; }
  using Sums = Bits16;

  struct Inputs {
    __m256i value[2];
    PETS_INLINE void load(const int32_t* p) {
      PETS_UNROLL for (int i = 0; i < 2; ++i) {
        __asm__ volatile("vmovdqa %1, %0" : "=x"(value[i]) : "m"(*(reinterpret_cast<const __m256i*>(p) + i)));
      }
    }
  };
  template <int kColumns>
  struct Weights {
    const int32_t* p;
    explicit PETS_INLINE Weights(const int32_t* words) : p(words) {}
    PETS_INLINE const int32_t* column(int c) const { return p + c; }
  };
  static PETS_INLINE Bits16 dot(Bits16 sums, const Inputs& inputs, const int32_t* weight) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i first, second;
    __asm__ volatile(
        "vpbroadcastd %4, %2\n\t"
        "vpmaddubsw %2, %5, %3\n\t"
        "vpmaddubsw %2, %6, %2\n\t"
        "vpmaddwd %7, %3, %3\n\t"
        "vpmaddwd %7, %2, %2\n\t"
        "vpaddd %3, %0, %0\n\t"
        "vpaddd %2, %1, %1"
        : "+x"(sums.v[0].raw), "+x"(sums.v[1].raw), "=&x"(second), "=&x"(first)
        : "m"(*weight), "x"(inputs.value[0]), "x"(inputs.value[1]), "x"(ones));
    return sums;
  }
  static PETS_INLINE Bits16 column_sums(Bits16 sums, const Bits16& words) {
    const __m256i bytes = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
    PETS_UNROLL for (int i = 0; i < 2; ++i) {
      __m256i pairs;
      __asm__ volatile(
          "vpmaddubsw %2, %3, %1\n\t"
          "vpmaddwd %4, %1, %1\n\t"
          "vpaddd %1, %0, %0"
          : "+x"(sums.v[i].raw), "=&x"(pairs)
          : "xm"(words.v[i].raw), "x"(bytes), "x"(ones));
    }
    return sums;
  }
};

}  // namespace

void convert_strip(WeightType, const float* x, size_t k, void* out, float* scale) { convert_strip_with<Int8Unit>(x, k, out, scale); }
void dot_panel(const DotPanel& a) { dot_panel_with<Int8Unit>(a); }

}  // namespace pets::kernels::avx2
PETS_SIMD_END;
