// convert_strip for one dot unit (gemm/dot_tile-inl.h): see gemm/dot.h.
#pragma once

#include "kernels/gemm/dot.h"
#include "kernels/simd/rows16.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// Input i of 16 rows, 0 beyond the last.
PETS_INLINE Rows16 input_or_zero(const float* x, size_t i, size_t k) { return i < k ? load(x + i * kStripRows) : rows_of(0); }

/// The lower bits of the result are the integer nearest to x * inverse, in two's complement: 1.5 * 2^23 leaves the sum no fraction.
PETS_INLINE Bits16 quantized(const Rows16& x, const Rows16& inverse) { return bits(add(mul(x, inverse), broadcast(0x1.8p23F))); }

/// 127 over each row's largest magnitude, by which its inputs are multiplied; writes the rows' scales.
PETS_INLINE Rows16 int8_steps(const float* x, size_t k, float* scale) {
  // Magnitudes are compared as integers: infinities and NaNs are greater than every number, on every instruction set.
  Bits16 greatest = bits_of(0);
  for (size_t i = 0; i < k; ++i) greatest = max(greatest, bits(absolute(load(x + i * kStripRows))));
  const Rows16 largest = floats(greatest);
  const RowMask finite = less(largest, broadcast(__builtin_inff()));
  const RowMask zero = less(largest, broadcast(1e-36F));
  const Rows16 steps = select(zero, broadcast(0), div(rows_of(127), largest));
  const Rows16 inverse = select(finite, steps, rows_of(0));
  const Rows16 step = select(zero, broadcast(0), div(largest, broadcast(127)));
  const Rows16 scales = select(finite, step, rows_of(__builtin_nanf("")));
  alignas(64) float aligned[kStripRows];
  store(scales, aligned);
  __builtin_memcpy(scale, aligned, sizeof aligned);
  return inverse;
}

/// Inputs i to i + 3.
PETS_INLINE void quantize_group(const float* x, size_t i, size_t k, const Rows16& steps, Bits16 (&q)[4]) {
  if (i + 4 <= k) {
    PETS_UNROLL for (int j = 0; j < 4; ++j) q[j] = quantized(load(x + (i + j) * kStripRows), steps);
  } else {
    PETS_UNROLL for (int j = 0; j < 4; ++j) q[j] = quantized(input_or_zero(x, i + j, k), steps);
  }
}
PETS_INLINE Bits16 word_of(const Bits16 (&q)[4]) {
  const Bits16 low = bit_or(bit_and(q[0], 0xFF), shift_left<8>(bit_and(q[1], 0xFF)));
  return bit_or(low, bit_or(shift_left<16>(bit_and(q[2], 0xFF)), shift_left<24>(q[3])));
}

template <class Unit>
PETS_INLINE void convert_int8(const float* x, size_t k, int32_t* out, float* scale) {
  const Rows16 steps = int8_steps(x, k, scale);
  for (size_t i = 0; i < k; i += 4) {
    Bits16 q[4];
    quantize_group(x, i, k, steps, q);
    if constexpr (Unit::kWide) {
      store_bits(bit_or(bit_and(q[0], 0xFFFF), shift_left<16>(q[1])), out);
      store_bits(bit_or(bit_and(q[2], 0xFFFF), shift_left<16>(q[3])), out + kStripRows);
      out += 2 * kStripRows;
    } else {
      const Bits16 word = word_of(q);
      store_bits(Unit::kUnsigned ? bit_xor(word, static_cast<int32_t>(0x80808080)) : word, out);
      out += kStripRows;
    }
  }
}

/// The upper half of a float, rounded to nearest even, in the upper half of the result; its lower half is anything.
PETS_INLINE Bits16 bfloat_bits(const Rows16& x) {
  const Bits16 exact = bits(x);
  const Bits16 odd = bit_and(shift_right_signed<16>(exact), 1);
  const Bits16 rounded = add(add(exact, bits_of(0x7FFF)), odd);
  return bits(select(is_number(x), floats(rounded), floats(bit_or(exact, bits_of(0x00400000)))));  // NaNs stay NaNs
}

/// A word of each row's two inputs, by the unit's instruction where it has one.
template <class Unit>
PETS_INLINE Bits16 bfloat_word(const Rows16& even, const Rows16& odd) {
  if constexpr (requires { Unit::word(even, odd); }) {
    return Unit::word(even, odd);
  } else {
    const int32_t upper = static_cast<int32_t>(0xFFFF0000);
    return bit_or(bit_and(shift_right_signed<16>(bfloat_bits(even)), 0xFFFF), bit_and(bfloat_bits(odd), upper));
  }
}
struct NoBfloatInstruction {};

template <class Unit>
PETS_INLINE void convert_bfloat(const float* x, size_t k, int32_t* out) {
  for (size_t i = 0; i < k; i += 2, out += kStripRows) {
    store_bits(bfloat_word<Unit>(load(x + i * kStripRows), input_or_zero(x, i + 1, k)), out);
  }
}

/// The words of a strip one by one, for formats with several words of a row side by side. Writes the rows' scales when it is made (int8).
template <WeightType kType>
struct StripWords {
  const float* x;
  size_t k;
  Rows16 steps{};

  PETS_INLINE StripWords(const float* strip, size_t inputs, float* scale) : x(strip), k(inputs) {
    if constexpr (kType == WeightType::kInt8) steps = int8_steps(x, k, scale);
  }
  /// The word that begins with input i < k.
  PETS_INLINE Bits16 word(size_t i) const {
    if constexpr (kType == WeightType::kInt8) {
      Bits16 q[4];
      quantize_group(x, i, k, steps, q);
      return word_of(q);
    } else {
      return bfloat_word<NoBfloatInstruction>(load(x + i * kStripRows), input_or_zero(x, i + 1, k));
    }
  }
};

template <class Unit>
PETS_INLINE void convert_strip_with(const float* x, size_t k, void* out, float* scale) {
  if constexpr (Unit::kType == WeightType::kInt8) {
    convert_int8<Unit>(x, k, static_cast<int32_t*>(out), scale);
  } else {
    convert_bfloat<Unit>(x, k, static_cast<int32_t*>(out));
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
