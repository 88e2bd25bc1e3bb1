// The kernels for AVX2 with FMA, F16C and BMI2 (Haswell, Zen and later).
#define PETS_SIMD_NAMESPACE avx2
#define PETS_SIMD_ISA Isa::kAvx2

// Flags such as -march=native must not turn this file into another variant: better targets have smaller values.
#define HWY_DISABLED_TARGETS (HWY_AVX2 - 1)
#define HWY_DISABLE_PCLMUL_AES
#include "kernels/simd/highway_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/cpu/kernels-inl.h"

static_assert(HWY_STATIC_TARGET == HWY_AVX2);
