// The element-wise kernels for one instruction set: see scale/scale.h.
#pragma once

#include "kernels/scale/scale.h"
#include "kernels/simd/rows16.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

inline void scale_features(const float* x, const float* factor, size_t features, LaneMask lanes, float* y) {
  const RowMask mask = row_mask(lanes);
  for (size_t f = 0; f < features; ++f) {
    store_rows(mask, mul(load(x + f * kStripRows), broadcast(factor[f])), y + f * kStripRows);
  }
}

inline void scale_bias(const float* factor, const float* bias, size_t features, LaneMask lanes, float* y) {
  if (!bias) return scale_features(y, factor, features, lanes, y);
  const RowMask mask = row_mask(lanes);
  for (size_t f = 0; f < features; ++f) {
    float* rows = y + f * kStripRows;
    store_rows(mask, mul_add(load(rows), broadcast(factor[f]), broadcast(bias[f])), rows);
  }
}

inline void add_strips(const float* a, const float* b, size_t features, float* y) {
  for (size_t i = 0; i < features * kStripRows; i += kStripRows) store(add(load(a + i), load(b + i)), y + i);
}

inline void scale_strip(const float* a, float factor, size_t features, float* y) {
  const Broadcast f = broadcast(factor);
  for (size_t i = 0; i < features * kStripRows; i += kStripRows) store(mul(load(a + i), f), y + i);
}

inline void blend(const float* x, size_t features, LaneMask lanes, float* y) {
  const RowMask mask = row_mask(lanes);
  for (size_t i = 0; i < features * kStripRows; i += kStripRows) store_rows(mask, load(x + i), y + i);
}

inline void broadcast_features(const float* value, size_t features, LaneMask lanes, float* y) {
  const RowMask mask = row_mask(lanes);
  for (size_t f = 0; f < features; ++f) store_rows(mask, rows_of(value[f]), y + f * kStripRows);
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
