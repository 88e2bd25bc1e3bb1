#include "kernels/kernel_table.h"

#include "kernels/cpu/variants.h"

namespace pets::kernels {

const KernelTable* kernel_table(Isa isa) {
  if (!isa_available(isa)) return nullptr;
  switch (isa) {
#define PETS_VARIANT_CASE(isa, name) \
  case Isa::isa:                     \
    return &name::kKernels;
    PETS_KERNEL_VARIANTS(PETS_VARIANT_CASE)
#undef PETS_VARIANT_CASE
    default:
      return nullptr;
  }
}

}  // namespace pets::kernels
