// bfloat16 and int8 dot products on the tiles of AMX (Sapphire Rapids and later): tdpbf16ps, tdpbssd.
//
// tdpbf16ps sums the products of even inputs of a tile and those of odd ones each in float32, then adds both to what was there; it takes
// subnormals as zero, inputs and results.
#define PETS_SIMD_NAMESPACE avx512_amx

// Flags such as -march=native must not turn this file into another variant: better targets have smaller values.
#define HWY_DISABLED_TARGETS (HWY_AVX3 - 1)
#define HWY_DISABLE_PCLMUL_AES
#include "kernels/simd/highway_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/cpu/variants.h"
#include "kernels/gemm/dot_matrix-inl.h"

static_assert(HWY_STATIC_TARGET == HWY_AVX3);

PETS_SIMD_BEGIN;
namespace pets::kernels::avx512_amx {
namespace {

// The compilers' intrinsics are macros that take a tile's number as a literal, which a template has not.
struct Tiles {
  template <int kTile>
  static PETS_INLINE void load(const int32_t* words) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(words), "r"(kRowBytes), "i"(kTile) : "memory");
  }
  template <int kTile>
  static PETS_INLINE void store(int32_t* words) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(words), "r"(kRowBytes), "i"(kTile) : "memory");
  }
  template <int kTile>
  static PETS_INLINE void clear() {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  template <WeightType kType, int kSums, int kInputs, int kWeights>
  static PETS_INLINE void dot() {
    if constexpr (kType == WeightType::kInt8) {
      __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kInputs), "i"(kWeights));
    } else {
      __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kInputs), "i"(kWeights));
    }
  }

  static PETS_INLINE void transpose(Bits16 (&words)[16]) {
    __m512i a[16], b[16];
    PETS_UNROLL for (int i = 0; i < 16; i += 2) {
      const __m512i even = words[i].v[0].raw, odd = words[i + 1].v[0].raw;
      a[i] = _mm512_unpacklo_epi32(even, odd);
      a[i + 1] = _mm512_unpackhi_epi32(even, odd);
    }
    // Then 128-bit lane l of b[4 * i + j] holds word 4 * l + j of rows 4 * i to 4 * i + 3.
    PETS_UNROLL for (int i = 0; i < 16; i += 4) {
      b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
      b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
      b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
      b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    PETS_UNROLL for (int j = 0; j < 4; ++j) {
      const __m512i low_even = _mm512_shuffle_i32x4(b[j], b[4 + j], 0x88), high_even = _mm512_shuffle_i32x4(b[8 + j], b[12 + j], 0x88);
      const __m512i low_odd = _mm512_shuffle_i32x4(b[j], b[4 + j], 0xDD), high_odd = _mm512_shuffle_i32x4(b[8 + j], b[12 + j], 0xDD);
      words[j].v[0].raw = _mm512_shuffle_i32x4(low_even, high_even, 0x88);
      words[4 + j].v[0].raw = _mm512_shuffle_i32x4(low_odd, high_odd, 0x88);
      words[8 + j].v[0].raw = _mm512_shuffle_i32x4(low_even, high_even, 0xDD);
      words[12 + j].v[0].raw = _mm512_shuffle_i32x4(low_odd, high_odd, 0xDD);
    }
  }

 private:
  static constexpr int64_t kRowBytes = kTileWords * sizeof(int32_t);
};

/// What ldtilecfg reads.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileShapes) == 64);
constexpr TileShapes kAllWhole;

void begin() { __asm__ volatile("ldtilecfg %0" : : "m"(kAllWhole)); }
/// A thread that leaves its tiles in use makes every switch to another save them.
void end() { __asm__ volatile("tilerelease"); }

}  // namespace

const DotKernels kDots = {true, kTileWords, 2, 1, convert_strip_to_rows<Tiles>, dot_panel_by_matrix<Tiles>, begin, end};

}  // namespace pets::kernels::avx512_amx
PETS_SIMD_END;
