// The kernels for AVX-512 with F, BW, CD, DQ and VL (Skylake-SP, Zen 4 and later).
#define PETS_SIMD_NAMESPACE avx512
#define PETS_SIMD_ISA Isa::kAvx512

// Flags such as -march=native must not turn this file into another variant: better targets have smaller values.
#define HWY_DISABLED_TARGETS (HWY_AVX3 - 1)
#define HWY_DISABLE_PCLMUL_AES
#include "kernels/simd/highway_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/cpu/kernels-inl.h"

static_assert(HWY_STATIC_TARGET == HWY_AVX3);
