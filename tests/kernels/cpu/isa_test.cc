#include "kernels/isa.h"

#include "tests/kernels/kernel_test.h"

namespace pets::kernels {
namespace {

TEST(IsaTest, NamesAreReadBack) {
  for (Isa isa : kAllIsas) EXPECT_EQ(parse_isa(isa_name(isa)), isa);
  EXPECT_EQ(parse_isa("avx1024"), std::nullopt);
  EXPECT_EQ(parse_isa(""), std::nullopt);
  EXPECT_EQ(parse_isa("AVX2"), std::nullopt);
}

TEST(IsaTest, ThePortableKernelsAreAlwaysThere) { EXPECT_TRUE(isa_available(Isa::kPortable)); }

TEST(IsaTest, TheBestIsaIsTheGreatestAvailable) {
  EXPECT_TRUE(isa_available(best_isa()));
  // Intel's vdpbf16ps is slower than multiply-adds.
  for (Isa isa : kAllIsas) EXPECT_TRUE(isa <= best_isa() || !isa_available(isa) || isa == Isa::kAvx512Bf16);
}

TEST(IsaTest, AnAvailableIsaHasACompleteTableOfItsOwn) {
  for (Isa isa : kAllIsas) {
    const KernelTable* table = kernel_table(isa);
    ASSERT_EQ(table != nullptr, isa_available(isa));
    if (!table) continue;
    EXPECT_EQ(table->isa, isa);
    EXPECT_TRUE(table->linear_panel && table->linear_continue && table->masked_panel && table->sparse_tile && table->shift_rows &&
                table->scale_features && table->scale_bias && table->add && table->scale && table->blend && table->broadcast &&
                table->layer_norm && table->activate && table->attention_strip && table->embedding_strip && table->pool_rows &&
                table->dots.convert_strip && table->dots.dot_panel);
  }
}

TEST(IsaTest, ALevelSharesTheKernelsOfItsBaseButNotTheDotProducts) {
  for (Isa isa : kAllIsas) {
    EXPECT_LE(base_isa(isa), isa);
    EXPECT_EQ(base_isa(base_isa(isa)), base_isa(isa));
    if (!isa_available(isa) || base_isa(isa) == isa) continue;
    ASSERT_TRUE(isa_available(base_isa(isa)));
    const KernelTable &level = *kernel_table(isa), &base = *kernel_table(base_isa(isa));
    EXPECT_EQ(level.linear_panel, base.linear_panel);
    EXPECT_EQ(level.layer_norm, base.layer_norm);
    EXPECT_NE(level.dots.dot_panel, base.dots.dot_panel);
  }
}

}  // namespace
}  // namespace pets::kernels
