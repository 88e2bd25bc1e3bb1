// The kernels for 64-bit ARM: Advanced SIMD is part of its baseline.
#define PETS_SIMD_NAMESPACE neon
#define PETS_SIMD_ISA Isa::kNeon

// Scalable vectors cannot be held in arrays of registers, which all kernels here are made of; better targets have smaller values.
#define HWY_DISABLED_TARGETS (HWY_NEON - 1)
#include "kernels/simd/highway_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/cpu/kernels-inl.h"

static_assert(pets::kernels::neon::vectors::kLanes == 4);
