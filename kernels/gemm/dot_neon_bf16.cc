// bfloat16 and int8 dot products for Armv8.6 (Neoverse V3AE) by matrix products: bfmmla, smmla. One of them multiplies two rows by two
// columns, 8 bytes of inputs each, into four sums: twice the products of bfdot and sdot.
//
// Its operands hold two neighbouring groups of inputs (words) of a row or a column side by side. Strips are converted that way; a panel's
// words are zipped into a stage in L1, which the strips of a call share and in which weights are masked.
// bfmmla's sums round as the CPU chooses (with FPCR.EBF clear: to odd, and subnormals are zero), so bits differ from those of x86.
#define PETS_SIMD_NAMESPACE neon_bf16

// Scalable vectors cannot be held in arrays of registers, which all kernels here are made of; better targets have smaller values.
#define HWY_DISABLED_TARGETS (HWY_NEON - 1)
#include "kernels/simd/highway_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/cpu/variants.h"
#include "kernels/gemm/dot_convert-inl.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/gemm/tile-inl.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::neon_bf16 {
namespace {

constexpr size_t kStepWords = 2 * kStripRows;  ///< two words of 16 rows, or of 16 columns
static_assert(kStripRows == kPanelColumns);
constexpr size_t kStageSteps = 128;  ///< 16 KiB of an L1 of 64
constexpr uint32_t kMostStrips = 6;  ///< whose sums are kept while the stage is filled again; the engine's blocks
constexpr uint32_t kTileRows = 8, kTileColumns = 8, kTiles = kStripRows / kTileRows * (kPanelColumns / kTileColumns);

/// 16 of 32 registers hold sums, 4 inputs, 4 weights: 24 instructions for 16 that multiply.
struct MmlaTile {
  const int32_t* x = nullptr;  ///< [steps][8 rows, then those of others][2 words]
  const int32_t* w = nullptr;  ///< likewise 8 columns
  size_t steps = 0;
  bool first = true;        ///< whether the sums start with these steps; otherwise they go on from `sums`
  int32_t* sums = nullptr;  ///< [4 pairs of rows][4 pairs of columns][2 rows][2 columns]
};

template <WeightType kType>
PETS_INLINE int32x4_t multiply(int32x4_t sums, int32x4_t rows, int32x4_t columns) {
  if constexpr (kType == WeightType::kInt8) {
    return vmmlaq_s32(sums, vreinterpretq_s8_s32(rows), vreinterpretq_s8_s32(columns));
  } else {
    return vreinterpretq_s32_f32(vbfmmlaq_f32(vreinterpretq_f32_s32(sums), vreinterpretq_bf16_s32(rows), vreinterpretq_bf16_s32(columns)));
  }
}

template <WeightType kType>
void mmla_tile(const MmlaTile& t) {
  constexpr int kRowPairs = kTileRows / 2, kColumnPairs = kTileColumns / 2;
  int32x4_t sum[kRowPairs][kColumnPairs];
  PETS_UNROLL for (int r = 0; r < kRowPairs; ++r) {
    PETS_UNROLL for (int c = 0; c < kColumnPairs; ++c) {
      sum[r][c] = t.first ? vdupq_n_s32(0) : vld1q_s32(t.sums + (r * kColumnPairs + c) * 4);
    }
  }
  const int32_t* x = t.x;
  const int32_t* w = t.w;
  for (size_t left = t.steps; left != 0; --left, x += kStepWords, w += kStepWords) {
    int32x4_t rows[kRowPairs];
    PETS_UNROLL for (int r = 0; r < kRowPairs; ++r) rows[r] = vld1q_s32(x + r * 4);
    PETS_UNROLL for (int c = 0; c < kColumnPairs; ++c) {
      const int32x4_t columns = vld1q_s32(w + c * 4);
      PETS_UNROLL for (int r = 0; r < kRowPairs; ++r) sum[r][c] = multiply<kType>(sum[r][c], rows[r], columns);
    }
  }
  PETS_UNROLL for (int r = 0; r < kRowPairs; ++r) {
    PETS_UNROLL for (int c = 0; c < kColumnPairs; ++c) vst1q_s32(t.sums + (r * kColumnPairs + c) * 4, sum[r][c]);
  }
}

/// Two words of 16 rows or columns, side by side.
PETS_INLINE void store_zipped(const Bits16& even, const Bits16& odd, int32_t* to) {
  PETS_EACH_VECTOR {
    vst1q_s32(to + 8 * i, vzip1q_s32(even.v[i].raw, odd.v[i].raw));
    vst1q_s32(to + 8 * i + 4, vzip2q_s32(even.v[i].raw, odd.v[i].raw));
  }
}

template <WeightType kType>
void convert(const float* x, size_t k, int32_t* out, float* scale) {
  constexpr size_t kGroup = input_group(kType);
  const StripWords<kType> strip(x, k, scale);
  for (size_t i = 0; i < k; i += 2 * kGroup, out += kStepWords) {
    store_zipped(strip.word(i), i + kGroup < k ? strip.word(i + kGroup) : bits_of(0), out);
  }
}

/// Steps [first, first + steps) of the panel. Words beyond the inputs are zeros; columns beyond the width may be anything.
template <WeightType kType>
void stage_steps(const DotPanel& a, size_t first, size_t steps, int32_t* stage) {
  constexpr size_t kGroup = input_group(kType);
  const size_t groups = (a.k + kGroup - 1) / kGroup;
  const auto* panel = static_cast<const uint32_t*>(a.panel) + 2 * first * a.width;
  const auto* next = static_cast<const char*>(a.prefetch != nullptr ? a.prefetch : a.panel);
  Bits16 planes = bits_of(0);
  const auto kept = [&](size_t group) PETS_LAMBDA {
    if (group >= groups) return bits_of(0);
    const Bits16 words = load_bits_unaligned(panel + (group - 2 * first) * a.width);
    if (a.planes == nullptr) return words;
    const auto k = static_cast<uint32_t>(group * kGroup % 32);
    if (k == 0 || group == 2 * first) planes = load_bits(a.planes + group * kGroup / 32 * kPanelColumns);
    return keep_inputs<kGroup>(planes, k, words);
  };
  for (size_t step = first; step < first + steps; ++step, stage += kStepWords) {
    const char* line = next + 2 * step * a.width * sizeof(int32_t);
    prefetch_l2(line);
    prefetch_l2(line + 64);
    const Bits16 even = kept(2 * step);
    store_zipped(even, kept(2 * step + 1), stage);
  }
}

/// One tile's sums to where they belong: rows [row, row + 8) of strip `strip`, columns [column, column + 8) below the width.
template <WeightType kType>
void finish_tile_sums(const DotPanel& a, uint32_t strip, uint32_t row, uint32_t column, const int32_t* sums) {
  const float* const bias = a.bias[strip];
  const uint32_t end = a.width - column < kTileColumns ? a.width : column + kTileColumns;
  for (uint32_t c = column; c < end; ++c) {
    float* const y = a.y + strip * a.y_stride + c * kStripRows + row;
    for (uint32_t r = 0; r < kTileRows; r += 4) {
      const int32_t* const first = sums + (r / 2 * (kTileColumns / 2) + (c - column) / 2) * 4;  // of two pairs of rows
      const int32x4_t low = vld1q_s32(first), high = vld1q_s32(first + kTileColumns / 2 * 4);
      const int32x4_t sum = c % 2 == 0 ? vuzp1q_s32(low, high) : vuzp2q_s32(low, high);
      const float32x4_t init = bias != nullptr ? vdupq_n_f32(bias[c]) : vld1q_f32(y + r);
      if constexpr (kType == WeightType::kInt8) {
        const float32x4_t scale = vmulq_n_f32(vld1q_f32(a.x_scale + strip * kStripRows + row + r), a.w_scale[c]);
        vst1q_f32(y + r, vfmaq_f32(init, vcvtq_f32_s32(sum), scale));
      } else {
        vst1q_f32(y + r, vaddq_f32(init, vreinterpretq_f32_s32(sum)));
      }
    }
  }
}

template <WeightType kType>
void dot_panel_of_type(const DotPanel& a) {
  constexpr size_t kInputsOfStep = 2 * input_group(kType);
  const size_t steps = (a.k + kInputsOfStep - 1) / kInputsOfStep;
  alignas(64) int32_t stage[kStageSteps * kStepWords];
  alignas(64) int32_t sums[kMostStrips][kTiles][kTileRows * kTileColumns];
  for (uint32_t first = 0; first < a.strips; first += kMostStrips) {
    const uint32_t end = a.strips - first < kMostStrips ? a.strips : first + kMostStrips;
    size_t done = 0;
    do {
      MmlaTile t;
      t.steps = steps - done < kStageSteps ? steps - done : kStageSteps;
      t.first = done == 0;
      stage_steps<kType>(a, done, t.steps, stage);
      for (uint32_t strip = first; strip < end; ++strip) {
        const auto* x = reinterpret_cast<const int32_t*>(static_cast<const char*>(a.x) + strip * a.x_stride) + done * kStepWords;
        t.sums = sums[strip - first][0];
        for (uint32_t row = 0; row < kStripRows; row += kTileRows) {
          for (uint32_t column = 0; column < a.width; column += kTileColumns, t.sums += kTileRows * kTileColumns) {
            t.x = x + 2 * row;
            t.w = stage + 2 * column;
            mmla_tile<kType>(t);
            if (done + t.steps == steps) finish_tile_sums<kType>(a, strip, row, column, t.sums);
          }
        }
      }
      done += t.steps;
    } while (done < steps);
  }
}

void convert_strip(WeightType type, const float* x, size_t k, void* out, float* scale) {
  auto* words = static_cast<int32_t*>(out);
  type == WeightType::kInt8 ? convert<WeightType::kInt8>(x, k, words, scale) : convert<WeightType::kBFloat16>(x, k, words, scale);
}
void dot_panel(const DotPanel& a) {
  a.type == WeightType::kInt8 ? dot_panel_of_type<WeightType::kInt8>(a) : dot_panel_of_type<WeightType::kBFloat16>(a);
}

}  // namespace

const DotKernels kDots = {true, 2, 1, 1, convert_strip, dot_panel, nullptr, nullptr};

}  // namespace pets::kernels::neon_bf16
PETS_SIMD_END;
