// dot_panel for the last strip of a call where few of its rows are wanted: see gemm/few_rows-inl.h. The operands change places: a register
// has the words of 16 columns, each row's word is broadcast.
#pragma once

#include "kernels/gemm/dot_tile-inl.h"
#include "kernels/gemm/few_rows-inl.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

/// One panel's sums of so few rows.
template <class Unit>
struct FewDotSums {
  typename Unit::Sums rows[kFewRowsSums];
  Bits16 columns;  ///< kUnsigned: of the weights
};

template <class Unit>
PETS_INLINE FewDotSums<Unit> few_dot_start(const Rows16& bias) {
  FewDotSums<Unit> sums;
  PETS_UNROLL for (uint32_t r = 0; r < kFewRowsSums; ++r) {
    if constexpr (Unit::kType == WeightType::kInt8) {
      sums.rows[r] = bits_of(0);
    } else {
      sums.rows[r] = bias;
    }
  }
  sums.columns = bits_of(0);
  return sums;
}

/// Weights lie 16 words a step. `side_work`: a step of it with each.
template <class Unit, class SideWork>
PETS_INLINE void few_dot_steps(const int32_t* x, const uint32_t* w, size_t steps, SideWork& side_work, FewDotSums<Unit>& kept) {
  SideWork side = side_work;  // both in registers
  FewDotSums<Unit> sums = kept;
  for (; steps != 0; --steps, x += kStripRows, w += kPanelColumns) {
    side.step();
    const Bits16 weights = load_bits_unaligned(w);
    if constexpr (Unit::kUnsigned) sums.columns = Unit::column_sums(sums.columns, weights);
    PETS_UNROLL for (uint32_t r = 0; r < kFewRowsSums; ++r) { sums.rows[r] = Unit::dot_columns(sums.rows[r], x[r], weights); }
  }
  kept = sums;
  side_work = side;
}

/// w_scale: [16], x_scale: [8], int8 only.
template <class Unit>
PETS_INLINE void few_dot_end(FewDotSums<Unit>& sums, const Rows16& bias, const float* w_scale, const float* x_scale, float* y) {
  Rows16 rows[kFewRowsSums];
  PETS_UNROLL for (uint32_t r = 0; r < kFewRowsSums; ++r) {
    if constexpr (Unit::kType == WeightType::kInt8) {
      if constexpr (Unit::kUnsigned) sums.rows[r] = add(sums.rows[r], sub(bits_of(0), shift_left<7>(sums.columns)));
      rows[r] = mul_add(to_floats(sums.rows[r]), mul(load_unaligned(w_scale), broadcast(x_scale[r])), bias);
    } else {
      rows[r] = sums.rows[r];
    }
  }
  store_transposed(rows, y);
}

/// This panel into L1, the next one into L2.
struct AskForPanels {
  const char* line;
  const char* next;
  PETS_INLINE void step() {
    prefetch_l1(line + kAhead * kPanelColumns * sizeof(int32_t));
    prefetch_l2(next);
    line += kPanelColumns * sizeof(int32_t);
    next += kPanelColumns * sizeof(int32_t);
  }
};

PETS_INLINE bool takes_few_rows(const DotPanel& a) {
  return a.rows <= kFewRows && a.width == kPanelColumns && a.strips != 0 && a.bias[a.strips - 1] != nullptr;
}

/// The last strip, without planes.
template <class Unit>
void few_rows_dot(const DotPanel& a) {
  constexpr size_t kGroup = input_group(Unit::kType);
  const uint32_t last = a.strips - 1;
  const Rows16 bias = load_unaligned(a.bias[last]);
  FewDotSums<Unit> sums = few_dot_start<Unit>(bias);
  const auto* const panel = static_cast<const char*>(a.panel);
  AskForPanels ask{panel, a.prefetch != nullptr ? static_cast<const char*>(a.prefetch) : panel};
  few_dot_steps(reinterpret_cast<const int32_t*>(static_cast<const char*>(a.x) + last * a.x_stride), static_cast<const uint32_t*>(a.panel),
                (a.k + kGroup - 1) / kGroup, ask, sums);
  few_dot_end(sums, bias, a.w_scale, a.x_scale ? a.x_scale + last * kStripRows : nullptr, a.y + last * a.y_stride);
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
