// Highway's vectors of the instruction set that this translation unit is compiled for (static target: no dynamic dispatch, no libhwy).
#pragma once

// This file's CPU is given by compiler flags alone. On ARM Highway would turn on more (the crypto extension, for a choice at run time that
// is not made here), and a struct's implicit functions, which are outside its pragmas, could then not inline its vectors. This is how
// Highway is told that there is no such choice.
#if defined(__aarch64__)
#define TOOLCHAIN_MISS_SYS_AUXV_H
#endif
#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#define PETS_SIMD_BEGIN HWY_BEFORE_NAMESPACE()
#define PETS_SIMD_END HWY_AFTER_NAMESPACE()
#define PETS_FUSED 1  // MulAdd rounds once on every target that includes this file
#define PETS_INLINE HWY_INLINE
#define PETS_LAMBDA HWY_ATTR __attribute__((always_inline))

HWY_BEFORE_NAMESPACE();
namespace pets::kernels::PETS_SIMD_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

namespace highway {
inline constexpr size_t kLanes = HWY_LANES(float);
inline constexpr int kRegisters = HWY_ARCH_ARM_A64 || kLanes == 16 ? 32 : 16;
using FloatTag = hn::ScalableTag<float>;
using IntTag = hn::ScalableTag<int32_t>;
using V = hn::Vec<FloatTag>;
using I = hn::Vec<IntTag>;
using M = hn::Mask<FloatTag>;

PETS_INLINE V load_halves(const uint16_t* p) {
  const hn::Rebind<hwy::float16_t, FloatTag> half_tag;
  return hn::PromoteTo(FloatTag(), hn::LoadU(half_tag, reinterpret_cast<const hwy::float16_t*>(p)));
}
PETS_INLINE V load_where_negative(I words, const float* p) {
#if HWY_TARGET == HWY_AVX2
  return V{_mm256_maskload_ps(p, words.raw)};  // looks at the sign alone
#else
  return hn::MaskedLoad(hn::RebindMask(FloatTag(), hn::Lt(words, hn::Zero(IntTag()))), FloatTag(), p);
#endif
}

/// See rows16.h.
template <int kInputs>
PETS_INLINE I keep_inputs(I planes, uint32_t k, I words) {
  static_assert(kInputs == 2 || kInputs == 4);
  // The byte of the plane that has the bits of these inputs, four times; then each value's own bit.
  alignas(16) static constexpr uint8_t kByte[4][16] = {{3, 3, 3, 3, 7, 7, 7, 7, 11, 11, 11, 11, 15, 15, 15, 15},
                                                       {2, 2, 2, 2, 6, 6, 6, 6, 10, 10, 10, 10, 14, 14, 14, 14},
                                                       {1, 1, 1, 1, 5, 5, 5, 5, 9, 9, 9, 9, 13, 13, 13, 13},
                                                       {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12}};
  const hn::Repartition<uint8_t, IntTag> byte_tag;
  const auto bytes = hn::TableLookupBytes(hn::BitCast(byte_tag, planes), hn::LoadDup128(byte_tag, kByte[k / 8]));
  if constexpr (kInputs == 4) {
    const auto bit = hn::BitCast(byte_tag, hn::Set(IntTag(), k % 8 == 0 ? 0x10204080 : 0x01020408));
    return hn::BitCast(IntTag(), hn::IfThenElseZero(hn::TestBit(bytes, bit), hn::BitCast(byte_tag, words)));
  } else {
    const hn::Repartition<uint16_t, IntTag> half_tag;
    const auto bit = hn::BitCast(half_tag, hn::Set(IntTag(), 0x00400080 >> k % 8));
    return hn::BitCast(IntTag(), hn::IfThenElseZero(hn::TestBit(hn::BitCast(half_tag, bytes), bit), hn::BitCast(half_tag, words)));
  }
}
}  // namespace highway
namespace vectors = highway;
}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
HWY_AFTER_NAMESPACE();
