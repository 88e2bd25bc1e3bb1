// The CPU kernels of one instruction set, behind one table: dispatch happens once, when a model is loaded.
#pragma once

#include "kernels/activation/activation.h"
#include "kernels/attention/attention.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gemm/dot.h"
#include "kernels/gemm/linear.h"
#include "kernels/isa.h"
#include "kernels/mask/mask.h"
#include "kernels/norm/layer_norm.h"
#include "kernels/pooling/pooling.h"
#include "kernels/rows/rows.h"
#include "kernels/scale/scale.h"
#include "kernels/sparse/sparse.h"

namespace pets::kernels {

struct KernelTable {
  Isa isa;
  /// Inputs of a linear that one call should take at most; 0: all. Six strips of 512 inputs (192 KiB) stay in an L2 cache of 512 KiB beside
  /// what passes through it; x would otherwise come from L3 for every panel.
  size_t most_inputs;
  LinearPanelFn linear_panel;
  LinearContinueFn linear_continue;
  MaskedPanelFn masked_panel;
  DotKernels dots;
  SparseTileFn sparse_tile;
  ScaleFeaturesFn scale_features;
  ScaleBiasFn scale_bias;
  AddFn add;
  ScaleFn scale;
  BlendFn blend;
  BroadcastFn broadcast;
  ShiftRowsFn shift_rows;
  LayerNormFn layer_norm;
  ActivateFn activate;
  AttentionStripFn attention_strip;
  EmbeddingStripFn embedding_strip;
  PoolRowsFn pool_rows;
};

/// The kernels for `isa`, or null where this build or this CPU does not have them.
const KernelTable* kernel_table(Isa isa);
/// The plain loops that tests compare with: readable, slow, the truth for every variant.
const KernelTable& reference_kernels();

}  // namespace pets::kernels
