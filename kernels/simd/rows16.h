// "16 rows of one feature": the one vector type that the kernels are written with. One AVX-512 register, two AVX2, four NEON or SSE2.
//
// Included once by the translation unit of each instruction set, after the vectors of that set, inside its own namespace, so that no
// function compiled for one CPU can be linked into code that runs on another.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/strip.h"

// Loops over registers must be unrolled for arrays of them to live in registers.
#if defined(PETS_NO_UNROLL)
#define PETS_UNROLL
#elif defined(__clang__)
#define PETS_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PETS_UNROLL _Pragma("GCC unroll 32")
#endif

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

using vectors::FloatTag;
using vectors::IntTag;
inline constexpr size_t kVectors = kStripRows / vectors::kLanes;  // registers of one Rows16

/// A number that a generic lambda gets as its argument's type.
template <int kNumber>
struct Count {
  static constexpr int kCount = kNumber;
};

/// One value for all rows.
using Broadcast = vectors::V;
PETS_INLINE Broadcast broadcast(float value) { return hn::Set(FloatTag(), value); }

struct Rows16 {
  vectors::V v[kVectors];
};
/// 16 32-bit integers.
struct Bits16 {
  vectors::I v[kVectors];
};
/// A choice of rows.
struct RowMask {
  vectors::M m[kVectors];
};

#define PETS_EACH_VECTOR PETS_UNROLL for (size_t i = 0; i < kVectors; ++i)

PETS_INLINE Rows16 rows_of(float value) {
  Rows16 r;
  const Broadcast b = broadcast(value);
  PETS_EACH_VECTOR r.v[i] = b;
  return r;
}
/// p is aligned to 64 bytes in `load` and `store`.
PETS_INLINE Rows16 load(const float* p) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = hn::Load(FloatTag(), p + i * vectors::kLanes);
  return r;
}
PETS_INLINE Rows16 load_unaligned(const float* p) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = hn::LoadU(FloatTag(), p + i * vectors::kLanes);
  return r;
}
PETS_INLINE void store(const Rows16& a, float* p) { PETS_EACH_VECTOR hn::Store(a.v[i], FloatTag(), p + i * vectors::kLanes); }
/// 16 halves, widened.
PETS_INLINE Rows16 load_halves(const uint16_t* p) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = vectors::load_halves(p + i * vectors::kLanes);
  return r;
}

#define PETS_ROWS_BINARY(name, Op)                               \
  PETS_INLINE Rows16 name(const Rows16& a, const Rows16& b) {    \
    Rows16 r;                                                    \
    PETS_EACH_VECTOR r.v[i] = hn::Op(a.v[i], b.v[i]);            \
    return r;                                                    \
  }                                                              \
  PETS_INLINE Rows16 name(const Rows16& a, const Broadcast& b) { \
    Rows16 r;                                                    \
    PETS_EACH_VECTOR r.v[i] = hn::Op(a.v[i], b);                 \
    return r;                                                    \
  }
PETS_ROWS_BINARY(add, Add)
PETS_ROWS_BINARY(sub, Sub)
PETS_ROWS_BINARY(mul, Mul)
PETS_ROWS_BINARY(div, Div)
PETS_ROWS_BINARY(max, Max)  // which of the two a NaN gives differs by instruction set
PETS_ROWS_BINARY(min, Min)
#undef PETS_ROWS_BINARY

/// a * b + c, one rounding where the instruction set has it.
PETS_INLINE Rows16 mul_add(const Rows16& a, const Rows16& b, const Rows16& c) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = hn::MulAdd(a.v[i], b.v[i], c.v[i]);
  return r;
}
PETS_INLINE Rows16 mul_add(const Rows16& a, const Broadcast& b, const Rows16& c) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = hn::MulAdd(a.v[i], b, c.v[i]);
  return r;
}
PETS_INLINE Rows16 mul_add(const Rows16& a, const Rows16& b, const Broadcast& c) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = hn::MulAdd(a.v[i], b.v[i], c);
  return r;
}
PETS_INLINE Rows16 mul_add(const Rows16& a, const Broadcast& b, const Broadcast& c) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = hn::MulAdd(a.v[i], b, c);
  return r;
}
/// c - a * b.
PETS_INLINE Rows16 neg_mul_add(const Rows16& a, const Rows16& b, const Rows16& c) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = hn::NegMulAdd(a.v[i], b.v[i], c.v[i]);
  return r;
}
/// a * b - c.
PETS_INLINE Rows16 mul_sub(const Rows16& a, const Broadcast& b, const Rows16& c) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = hn::MulSub(a.v[i], b, c.v[i]);
  return r;
}
PETS_INLINE Rows16 square_root(const Rows16& a) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = hn::Sqrt(a.v[i]);
  return r;
}

PETS_INLINE RowMask less(const Rows16& a, const Broadcast& b) {
  RowMask r;
  PETS_EACH_VECTOR r.m[i] = hn::Lt(a.v[i], b);
  return r;
}
PETS_INLINE RowMask less(int32_t a, const Bits16& b) {
  RowMask r;
  const vectors::I all = hn::Set(IntTag(), a);
  PETS_EACH_VECTOR r.m[i] = hn::RebindMask(FloatTag(), hn::Lt(all, b.v[i]));
  return r;
}
PETS_INLINE RowMask is_number(const Rows16& a) {
  RowMask r;
  PETS_EACH_VECTOR r.m[i] = hn::Eq(a.v[i], a.v[i]);
  return r;
}
PETS_INLINE Rows16 select(const RowMask& mask, const Rows16& yes, const Rows16& no) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = hn::IfThenElse(mask.m[i], yes.v[i], no.v[i]);
  return r;
}
PETS_INLINE Rows16 select(const RowMask& mask, const Broadcast& yes, const Rows16& no) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = hn::IfThenElse(mask.m[i], yes, no.v[i]);
  return r;
}

PETS_INLINE RowMask row_mask(LaneMask lanes) {
  alignas(64) static constexpr int32_t kBits[kStripRows] = {1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                                                            1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
  RowMask r;
  const vectors::I all = hn::Set(IntTag(), static_cast<int32_t>(lanes));
  PETS_EACH_VECTOR r.m[i] = hn::RebindMask(FloatTag(), hn::TestBit(all, hn::Load(IntTag(), kBits + i * vectors::kLanes)));
  return r;
}
/// The greater of x and `least`; NaN stays NaN.
PETS_INLINE Rows16 at_least(const Rows16& x, float least) {
#if defined(HWY_TARGET) && HWY_ARCH_X86
  return max(rows_of(least), x);  // of a NaN the second operand
#else
  return select(less(x, broadcast(least)), rows_of(least), x);
#endif
}
/// Writes the rows of the mask; the others keep their bits.
PETS_INLINE void store_rows(const RowMask& mask, const Rows16& a, float* p) { store(select(mask, a, load(p)), p); }

PETS_INLINE Bits16 bits(const Rows16& a) {
  Bits16 r;
  PETS_EACH_VECTOR r.v[i] = hn::BitCast(IntTag(), a.v[i]);
  return r;
}
PETS_INLINE Rows16 floats(const Bits16& a) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = hn::BitCast(FloatTag(), a.v[i]);
  return r;
}
PETS_INLINE Bits16 load_bits(const uint32_t* p) {
  Bits16 r;
  PETS_EACH_VECTOR r.v[i] = hn::Load(IntTag(), reinterpret_cast<const int32_t*>(p) + i * vectors::kLanes);
  return r;
}
PETS_INLINE Bits16 load_bits_unaligned(const uint32_t* p) {
  Bits16 r;
  PETS_EACH_VECTOR r.v[i] = hn::LoadU(IntTag(), reinterpret_cast<const int32_t*>(p) + i * vectors::kLanes);
  return r;
}
/// p is aligned to 64 bytes.
PETS_INLINE void store_bits(const Bits16& a, int32_t* p) { PETS_EACH_VECTOR hn::Store(a.v[i], IntTag(), p + i * vectors::kLanes); }
PETS_INLINE Bits16 bits_of(int32_t value) {
  Bits16 r;
  const vectors::I all = hn::Set(IntTag(), value);
  PETS_EACH_VECTOR r.v[i] = all;
  return r;
}
/// Signed integers as the nearest floats.
PETS_INLINE Rows16 to_floats(const Bits16& a) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = hn::ConvertTo(FloatTag(), a.v[i]);
  return r;
}
#define PETS_BITS_BINARY(name, Op)                            \
  PETS_INLINE Bits16 name(const Bits16& a, const Bits16& b) { \
    Bits16 r;                                                 \
    PETS_EACH_VECTOR r.v[i] = hn::Op(a.v[i], b.v[i]);         \
    return r;                                                 \
  }
PETS_BITS_BINARY(add, Add)
PETS_BITS_BINARY(sub, Sub)
PETS_BITS_BINARY(max, Max)  // of signed integers
PETS_BITS_BINARY(bit_and, And)
PETS_BITS_BINARY(bit_or, Or)
#undef PETS_BITS_BINARY
PETS_INLINE Bits16 bit_xor(const Bits16& a, int32_t b) {
  Bits16 r;
  const vectors::I all = hn::Set(IntTag(), b);
  PETS_EACH_VECTOR r.v[i] = hn::Xor(a.v[i], all);
  return r;
}
PETS_INLINE Bits16 bit_and(const Bits16& a, int32_t b) {
  Bits16 r;
  const vectors::I all = hn::Set(IntTag(), b);
  PETS_EACH_VECTOR r.v[i] = hn::And(a.v[i], all);
  return r;
}
template <int kBits>
PETS_INLINE Bits16 shift_left(const Bits16& a) {
  Bits16 r;
  PETS_EACH_VECTOR r.v[i] = hn::ShiftLeft<kBits>(a.v[i]);
  return r;
}
/// Copies of the sign come in from the left.
template <int kBits>
PETS_INLINE Bits16 shift_right_signed(const Bits16& a) {
  Bits16 r;
  PETS_EACH_VECTOR r.v[i] = hn::ShiftRight<kBits>(a.v[i]);
  return r;
}

PETS_INLINE Rows16 absolute(const Rows16& a) { return floats(bit_and(bits(a), 0x7FFFFFFF)); }

/// a where the bit is set, +0 elsewhere.
PETS_INLINE Rows16 keep_where(const Bits16& words, int32_t bit, const Rows16& a) {
  Rows16 r;
  const vectors::I bit_everywhere = hn::Set(IntTag(), bit);
  PETS_EACH_VECTOR r.v[i] = hn::IfThenElseZero(hn::RebindMask(FloatTag(), hn::TestBit(words.v[i], bit_everywhere)), a.v[i]);
  return r;
}

/// p[i] where the sign bit of word i is set, +0 elsewhere; what is not kept is not read. p needs no alignment.
PETS_INLINE Rows16 load_where_negative(const Bits16& words, const float* p) {
  Rows16 r;
  PETS_EACH_VECTOR r.v[i] = vectors::load_where_negative(words.v[i], p + i * vectors::kLanes);
  return r;
}

/// Of words that hold kInputs values each (4 bytes or 2 halves, the first one lowest), those that the bit planes keep, the others as 0.
/// The word's first value belongs to bit 31 - k of its lane's plane, k < 32 a multiple of kInputs.
template <int kInputs>
PETS_INLINE Bits16 keep_inputs(const Bits16& planes, uint32_t k, const Bits16& words) {
  Bits16 r;
  PETS_EACH_VECTOR r.v[i] = vectors::keep_inputs<kInputs>(planes.v[i], k, words.v[i]);
  return r;
}

/// Asks for a cache line; any address will do.
PETS_INLINE void prefetch_l1(const void* p) { __builtin_prefetch(p, 0, 3); }
PETS_INLINE void prefetch_l2(const void* p) { __builtin_prefetch(p, 0, 2); }

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
