// The one list of kernel variants: declarations, the table, tests and benchmarks follow it. A variant is `name`.cc beside this file
// (kernels_<name>.cc), compiled with its own flags by kernels/CMakeLists.txt.
#pragma once

#include "kernels/kernel_table.h"

#if defined(__x86_64__)
#define PETS_KERNEL_VARIANTS(X) X(kPortable, portable) X(kAvx2, avx2) X(kAvx512, avx512)
#elif defined(__aarch64__)
#define PETS_KERNEL_VARIANTS(X) X(kPortable, portable) X(kNeon, neon)
#else
#define PETS_KERNEL_VARIANTS(X) X(kPortable, portable)
#endif

#define PETS_DECLARE_VARIANT(isa, name) \
  namespace pets::kernels::name {       \
  extern const KernelTable kKernels;    \
  }
PETS_KERNEL_VARIANTS(PETS_DECLARE_VARIANT)
#undef PETS_DECLARE_VARIANT
