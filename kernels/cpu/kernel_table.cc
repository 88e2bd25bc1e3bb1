#include "kernels/kernel_table.h"

#include "kernels/cpu/variants.h"

namespace pets::kernels {
namespace {

// Composed when first asked for, in code for any CPU: a table that is copied when the program starts would be one more constructor, and
// in the file of its instruction set one that not every CPU can run.
[[maybe_unused]] KernelTable with_dots(const KernelTable& base, Isa isa, const DotKernels& dots) {
  KernelTable table = base;
  table.isa = isa;
  table.dots = dots;
  return table;
}

}  // namespace

const KernelTable* kernel_table(Isa isa) {
  if (!isa_available(isa)) return nullptr;
  switch (isa) {
#define PETS_VARIANT_CASE(isa, name) \
  case Isa::isa:                     \
    return &name::kKernels;
    PETS_KERNEL_VARIANTS(PETS_VARIANT_CASE)
#undef PETS_VARIANT_CASE
#define PETS_DOT_VARIANT_CASE(isa, name, base, base_name)                                   \
  case Isa::isa: {                                                                          \
    static const KernelTable table = with_dots(base_name::kKernels, Isa::isa, name::kDots); \
    return &table;                                                                          \
  }
    PETS_DOT_VARIANTS(PETS_DOT_VARIANT_CASE)
#undef PETS_DOT_VARIANT_CASE
    default:
      return nullptr;
  }
}

}  // namespace pets::kernels
