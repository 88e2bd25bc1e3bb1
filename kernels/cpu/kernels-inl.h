// Every kernel of one instruction set and the table of them. A translation unit defines PETS_SIMD_NAMESPACE and PETS_SIMD_ISA,
// includes the vectors that it is compiled for, and then this file.
#pragma once

#include "kernels/activation/activation-inl.h"
#include "kernels/attention/attention-inl.h"
#include "kernels/embedding/embedding-inl.h"
#include "kernels/gemm/linear-inl.h"
#include "kernels/kernel_table.h"
#include "kernels/mask/mask-inl.h"
#include "kernels/norm/layer_norm-inl.h"
#include "kernels/pooling/pooling-inl.h"
#include "kernels/rows/rows-inl.h"
#include "kernels/scale/scale-inl.h"
#include "kernels/sparse/sparse-inl.h"

namespace pets::kernels::PETS_SIMD_NAMESPACE {

// gemm/dot_<name>.cc
void convert_strip(WeightType type, const float* x, size_t k, void* out, float* scale);
void dot_panel(const DotPanel& a);

extern const KernelTable kKernels;
// One translation unit an instruction set includes this. NOLINTNEXTLINE(misc-definitions-in-headers)
const KernelTable kKernels = {
    PETS_SIMD_ISA,      kVectors == 1 ? 0 : 512,
    linear_panel,       linear_continue,
    masked_panel,       {false, 1, 1, 1, convert_strip, dot_panel, nullptr, nullptr},
    sparse_tile,        scale_features,
    scale_bias,         add_strips,
    scale_strip,        blend,
    broadcast_features, shift_rows,
    layer_norm,         activate,
    attention_strip,    embedding_strip,
    pool_rows,
};

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
