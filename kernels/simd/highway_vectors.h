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
}  // namespace highway
namespace vectors = highway;
}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
HWY_AFTER_NAMESPACE();
