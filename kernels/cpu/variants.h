// The one list of kernel variants: declarations, the tables, tests and benchmarks follow it.
//
// PETS_KERNEL_VARIANTS: X(isa, name): all kernels, kernels_<name>.cc beside this file and gemm/dot_<name>.cc, compiled with flags of their
// own by kernels/CMakeLists.txt.
// PETS_DOT_VARIANTS: X(isa, name, base isa, base name): the kernels of the base with the dot products of gemm/dot_<name>.cc.
#pragma once

#include "kernels/kernel_table.h"

#if defined(__x86_64__)
#define PETS_KERNEL_VARIANTS(X) X(kPortable, portable) X(kAvx2, avx2) X(kAvx512, avx512)
#define PETS_DOT_VARIANTS(X)                   \
  X(kAvx512Vnni, avx512_vnni, kAvx512, avx512) \
  X(kAvx512Bf16, avx512_bf16, kAvx512, avx512) \
  X(kAvx512Amx, avx512_amx, kAvx512, avx512)
#elif defined(__aarch64__)
#define PETS_KERNEL_VARIANTS(X) X(kPortable, portable) X(kNeon, neon)
#define PETS_DOT_VARIANTS(X) X(kNeonDot, neon_dot, kNeon, neon) X(kNeonBf16, neon_bf16, kNeon, neon)
#else
#define PETS_KERNEL_VARIANTS(X) X(kPortable, portable)
#define PETS_DOT_VARIANTS(X)
#endif

#define PETS_DECLARE_VARIANT(isa, name) \
  namespace pets::kernels::name {       \
  extern const KernelTable kKernels;    \
  }
PETS_KERNEL_VARIANTS(PETS_DECLARE_VARIANT)
#undef PETS_DECLARE_VARIANT

#define PETS_DECLARE_DOT_VARIANT(isa, name, base, base_name) \
  namespace pets::kernels::name {                            \
  extern const DotKernels kDots;                             \
  }
PETS_DOT_VARIANTS(PETS_DECLARE_DOT_VARIANT)
#undef PETS_DECLARE_DOT_VARIANT
