// The kernels for any CPU: the compiler's baseline flags. On x86-64 that is SSE2.
#define PETS_SIMD_NAMESPACE portable
#define PETS_SIMD_ISA Isa::kPortable

#include "kernels/simd/plain_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/cpu/kernels-inl.h"
