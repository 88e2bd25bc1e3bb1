// int8 dot products for any CPU, with compiler vectors.
#define PETS_SIMD_NAMESPACE portable

#include "kernels/simd/plain_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/gemm/dot_tile-inl.h"

namespace pets::kernels::portable {
namespace {

// 16-bit integers, one row's two inputs in each word: their two products are at most 127 * 127, so 16 bits hold each.
struct Int8Unit {
  static constexpr WeightType kType = WeightType::kInt8;
  static constexpr bool kWide = true, kUnsigned = false;
  /// 8 of 16 registers hold sums, 4 inputs, the others a weight and products.
  static constexpr int columns(int strips) { return strips == 1 ? 2 : 0; }
  using Sums = Bits16;
  using Halves __attribute__((vector_size(16))) = int16_t;

  struct Inputs {
    Halves value[kVectors];
    PETS_INLINE void load(const int32_t* p) { PETS_EACH_VECTOR value[i] = plain::load_bytes<Halves>(p + i * vectors::kLanes); }
  };
  template <int kColumns>
  struct Weights {
    const int32_t* p;
    explicit PETS_INLINE Weights(const int32_t* words) : p(words) {}
    PETS_INLINE Halves column(int c) const { return reinterpret_cast<Halves>(hn::Set(IntTag(), p[c])); }
  };
  static PETS_INLINE Bits16 dot(Bits16 sums, const Inputs& inputs, Halves weight) {
    PETS_EACH_VECTOR {
      const vectors::I products = reinterpret_cast<vectors::I>(inputs.value[i] * weight);
      sums.v[i] += (products << 16 >> 16) + (products >> 16);
    }
    return sums;
  }
};

}  // namespace

void convert_strip(WeightType, const float* x, size_t k, void* out, float* scale) { convert_strip_with<Int8Unit>(x, k, out, scale); }
void dot_panel(const DotPanel& a) { dot_panel_with<Int8Unit>(a); }

}  // namespace pets::kernels::portable
