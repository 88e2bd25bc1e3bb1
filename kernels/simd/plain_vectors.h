// The few vector operations that rows16.h needs, for CPUs without a variant of their own: compiler vectors of four floats (SSE2 on
// x86-64), named as in Highway so that one source serves both. Multiply-add is a product and a sum here.
#pragma once

#include <cstddef>
#include <cstdint>

#define PETS_SIMD_BEGIN
#define PETS_SIMD_END
#define PETS_FUSED 0
#define PETS_INLINE inline __attribute__((always_inline))
#define PETS_LAMBDA __attribute__((always_inline))

namespace pets::kernels::PETS_SIMD_NAMESPACE {
namespace plain {

inline constexpr size_t kLanes = 4;
inline constexpr int kRegisters = 16;
struct FloatTag {};
struct IntTag {};
// NOLINTBEGIN(readability-identifier-naming,modernize-use-using): the names are Highway's
typedef float V __attribute__((vector_size(16)));
typedef int32_t I __attribute__((vector_size(16)));
using M = I;  // lanes are all ones or all zeros

PETS_INLINE V Set(FloatTag, float a) { return V{a, a, a, a}; }
PETS_INLINE I Set(IntTag, int32_t a) { return I{a, a, a, a}; }
PETS_INLINE V Zero(FloatTag) { return V{}; }

template <class T>
PETS_INLINE T load_bytes(const void* p) {
  T v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
PETS_INLINE V LoadU(FloatTag, const float* p) { return load_bytes<V>(p); }
PETS_INLINE V Load(FloatTag, const float* p) { return load_bytes<V>(p); }
PETS_INLINE I Load(IntTag, const int32_t* p) { return load_bytes<I>(p); }
PETS_INLINE I LoadU(IntTag, const int32_t* p) { return load_bytes<I>(p); }
PETS_INLINE void Store(V v, FloatTag, float* p) { __builtin_memcpy(p, &v, sizeof v); }
PETS_INLINE void StoreU(V v, FloatTag, float* p) { __builtin_memcpy(p, &v, sizeof v); }

PETS_INLINE V Add(V a, V b) { return a + b; }
PETS_INLINE V Sub(V a, V b) { return a - b; }
PETS_INLINE V Mul(V a, V b) { return a * b; }
PETS_INLINE V Div(V a, V b) { return a / b; }
PETS_INLINE V MulAdd(V a, V b, V c) { return c + a * b; }
PETS_INLINE V MulSub(V a, V b, V c) { return a * b - c; }
PETS_INLINE V NegMulAdd(V a, V b, V c) { return c - a * b; }
PETS_INLINE V Sqrt(V a) { return V{__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])}; }

PETS_INLINE V BitCast(FloatTag, I a) { return reinterpret_cast<V>(a); }
PETS_INLINE I BitCast(IntTag, V a) { return reinterpret_cast<I>(a); }
PETS_INLINE I BitCast(IntTag, I a) { return a; }
PETS_INLINE void Store(I v, IntTag, int32_t* p) { __builtin_memcpy(p, &v, sizeof v); }
PETS_INLINE V ConvertTo(FloatTag, I a) { return __builtin_convertvector(a, V); }
PETS_INLINE I Max(I a, I b) { return a > b ? a : b; }
PETS_INLINE I Or(I a, I b) { return a | b; }
PETS_INLINE I Xor(I a, I b) { return a ^ b; }
PETS_INLINE I Sub(I a, I b) { return a - b; }
PETS_INLINE I Add(I a, I b) { return a + b; }
PETS_INLINE I And(I a, I b) { return a & b; }
template <int kBits>
PETS_INLINE I ShiftLeft(I a) {
  return a << kBits;
}
template <int kBits>
PETS_INLINE I ShiftRight(I a) {
  return a >> kBits;
}

PETS_INLINE M Eq(V a, V b) { return a == b; }
PETS_INLINE M Lt(V a, V b) { return a < b; }
PETS_INLINE M Lt(I a, I b) { return a < b; }
PETS_INLINE M RebindMask(FloatTag, M m) { return m; }
PETS_INLINE M TestBit(I a, I bit) { return (a & bit) != 0; }
PETS_INLINE V IfThenElse(M m, V yes, V no) { return BitCast(FloatTag(), (m & BitCast(IntTag(), yes)) | (~m & BitCast(IntTag(), no))); }
PETS_INLINE V IfThenElseZero(M m, V yes) { return BitCast(FloatTag(), m & BitCast(IntTag(), yes)); }
PETS_INLINE V Max(V a, V b) { return IfThenElse(a < b, b, a); }
PETS_INLINE V Min(V a, V b) { return IfThenElse(b < a, b, a); }

// Widens IEEE halves: shifted into place they lack a factor 2^112 (which also makes subnormals normal); infinities and NaNs then lack
// the upper exponent bits.
PETS_INLINE V load_halves(const uint16_t* p) {
  const I h{p[0], p[1], p[2], p[3]};
  const I magnitude = (h & 0x7FFF) << 13;
  const I scaled = BitCast(IntTag(), BitCast(FloatTag(), magnitude) * 0x1p112f);
  const I special = (magnitude >= 0x0F800000) & 0x7F800000;
  return BitCast(FloatTag(), scaled | special | ((h & 0x8000) << 16));
}

PETS_INLINE V load_where_negative(I words, const float* p) { return IfThenElseZero(words >> 31, LoadU(FloatTag(), p)); }

// See rows16.h.
template <int kInputs>
PETS_INLINE I keep_inputs(I planes, uint32_t k, I words) {
  static_assert(kInputs == 2 || kInputs == 4);
  // The byte of the plane that has the bits of these inputs, four times; then each value's own bit.
  const I byte = (planes >> static_cast<int32_t>(24 - k / 8 * 8) & 0xFF);
  const I bytes = byte | byte << 8 | byte << 16 | byte << 24;
  if constexpr (kInputs == 4) {
    typedef int8_t Bytes __attribute__((vector_size(16)));
    return words & reinterpret_cast<I>(reinterpret_cast<Bytes>(bytes & (k % 8 == 0 ? 0x10204080 : 0x01020408)) != 0);
  } else {
    typedef int16_t Halves __attribute__((vector_size(16)));
    return words & reinterpret_cast<I>(reinterpret_cast<Halves>(bytes & (0x00400080 >> k % 8)) != 0);
  }
}

// NOLINTEND(readability-identifier-naming,modernize-use-using)

}  // namespace plain
namespace hn = plain;
namespace vectors = plain;
}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
