// The plain loops that every variant is compared with, one file each beside its contract header. Chains are fused as the contracts
// say, so the fused variants of products must equal them bit by bit.
#pragma once

#include "kernels/kernel_table.h"

namespace pets::kernels::reference {

void linear_panel(const LinearPanel& a);
void linear_continue(const LinearContinue& a);
void convert_strip(WeightType type, const float* x, size_t k, void* out, float* scale);
void dot_panel(const DotPanel& a);
void masked_panel(const MaskedPanel& a);
void sparse_tile(const SparseTile& a);
void scale_features(const float* x, const float* factor, size_t features, LaneMask lanes, float* y);
void scale_bias(const float* factor, const float* bias, size_t features, LaneMask lanes, float* y);
void add(const float* a, const float* b, size_t features, float* y);
void scale(const float* a, float factor, size_t features, float* y);
void blend(const float* x, size_t features, LaneMask lanes, float* y);
void broadcast(const float* value, size_t features, LaneMask lanes, float* y);
void shift_rows(const float* a, const float* b, uint32_t from, size_t features, LaneMask lanes, float* y);
void layer_norm(const LayerNorm& a);
void activate(Activation activation, const float* x, size_t features, float* y);
void attention_strip(const AttentionStrip& a);
void embedding_strip(const EmbeddingStrip& a);
void pool_rows(const PoolRows& a);

/// Whether `row` is one of `lanes`.
constexpr bool has_row(LaneMask lanes, uint32_t row) { return (lanes >> row & 1) != 0; }

/// Weight [k][column] of a panel that is [k][width] (bfloat16: [k / 2][width][2]) values of `type`, as float.
float weight_at(WeightType type, const void* panel, uint32_t width, size_t k, uint32_t column);

}  // namespace pets::kernels::reference
