// convert_strip and dot_panel over a matrix unit: one instruction multiplies a tile of 16 rows x 16 words of inputs by one of 16 words x 16
// columns of weights. A word is 32 bits: 2 bfloat16 or 4 int8 inputs.
//
// A panel of 16 columns is such tiles as it is, so weights are read in place; a strip is turned when it is converted, and so are the 16 x
// 16 sums of each strip at the end. A unit is a type with, for tiles numbered from 0 to 7:
//   load<tile>(words), store<tile>(words)   16 rows of 16 words, one after another
//   clear<tile>()                           zeros
//   dot<type, sums, inputs, weights>()      sums[row][column] += the products of the row's and the column's 16 words
//   transpose(words)                        of 16 rows of 16 words in registers
#pragma once

#include <utility>

#include "kernels/gemm/dot_convert-inl.h"
#include "kernels/gemm/panel_layout.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

inline constexpr uint32_t kTileWords = 16;                       ///< of a row of inputs, and of a column
inline constexpr size_t kTileSize = kTileWords * kPanelColumns;  ///< words
static_assert(kStripRows == 16 && kPanelColumns == 16);

// Six sums at once: of three strips and two panels, so that inputs and weights are loaded little more than once a product, or of six strips
// and one panel. One tile of inputs and one of weights are loaded again and again, which costs nothing (docs/decisions.md, section 18).
inline constexpr int kInputsTile = 6, kWeightsTile = 7;
inline constexpr uint32_t kMostMatrixStrips = 6, kMostMatrixStripsOfTwo = 3;

template <class Unit, WeightType kType>
void convert_strip_by_rows(const float* x, size_t k, int32_t* out, float* scale) {
  constexpr size_t kGroup = input_group(kType);
  const StripWords<kType> strip(x, k, scale);
  for (size_t i = 0; i < k; i += kTileWords * kGroup, out += kTileSize) {
    Bits16 words[kTileWords];
    if (i + kTileWords * kGroup <= k) {
      PETS_UNROLL for (size_t g = 0; g < kTileWords; ++g) words[g] = strip.word(i + g * kGroup);
    } else {
      for (size_t g = 0; g < kTileWords; ++g) words[g] = i + g * kGroup < k ? strip.word(i + g * kGroup) : bits_of(0);
    }
    Unit::transpose(words);
    PETS_UNROLL for (size_t row = 0; row < kStripRows; ++row) store_bits(words[row], out + row * kTileWords);
  }
}

/// The tiles of a panel, one after another: where they lie, or staged where that is no whole tile of kept weights.
template <WeightType kType>
class WeightTiles {
 public:
  /// `panel` 0 or 1 of the call.
  PETS_INLINE WeightTiles(const DotPanel& a, uint32_t panel)
      : groups_((a.k + kGroup - 1) / kGroup),
        panel_(static_cast<const int32_t*>(a.panel) + panel_offset(groups_, panel)),
        planes_(a.planes),
        width_(panel_width(a.width, panel)),
        all_staged_(a.planes != nullptr || width_ < kPanelColumns) {}
  PETS_INLINE size_t tiles() const { return (groups_ + kTileWords - 1) / kTileWords; }
  /// Tile t, to be asked for in ascending order.
  PETS_INLINE const int32_t* tile(size_t t) {
    if (t == 0 && is_staged(0)) stage(0);
    if (t + 1 < tiles() && is_staged(t + 1)) stage(t + 1);  // while the unit multiplies
    return is_staged(t) ? stage_[t % 2] : panel_ + t * kTileSize;
  }

 private:
  static constexpr size_t kGroup = input_group(kType);

  PETS_INLINE bool is_staged(size_t t) const { return all_staged_ || (t + 1) * kTileWords > groups_; }
  // Words beyond the inputs must be zeros, whatever lies there: NaN times zero is NaN. Columns beyond the width may be anything.
  void stage(size_t t) {
    const size_t first = t * kTileWords, end = groups_ - first < kTileWords ? groups_ : first + kTileWords;
    const auto* words = reinterpret_cast<const uint32_t*>(panel_) + first * width_;
    int32_t* to = stage_[t % 2];
    Bits16 planes{};
    for (size_t group = first; group < end; ++group, words += width_, to += kPanelColumns) {
      Bits16 word = load_bits_unaligned(words);
      if (planes_ != nullptr) {
        const auto k = static_cast<uint32_t>(group * kGroup % 32);
        if (k == 0 || group == first) planes = load_bits(planes_ + group * kGroup / 32 * kPanelColumns);
        word = keep_inputs<kGroup>(planes, k, word);
      }
      store_bits(word, to);
    }
    for (size_t group = end; group < first + kTileWords; ++group, to += kPanelColumns) store_bits(bits_of(0), to);
  }

  size_t groups_;
  const int32_t* panel_;
  const uint32_t* planes_;
  uint32_t width_;
  bool all_staged_;
  alignas(64) int32_t stage_[2][kTileSize];
};

/// One strip's sums of one panel, [16 rows][16 columns], to where they belong.
template <class Unit, WeightType kType>
PETS_INLINE void finish_strip(const DotPanel& a, uint32_t strip, uint32_t panel, const int32_t* sums) {
  const uint32_t first = panel * kPanelColumns, width = panel_width(a.width, panel);
  Bits16 column[kPanelColumns];
  PETS_UNROLL for (size_t row = 0; row < kStripRows; ++row) {
    column[row] = load_bits(reinterpret_cast<const uint32_t*>(sums) + row * kPanelColumns);
  }
  Unit::transpose(column);
  float* const y = a.y + strip * a.y_stride + first * kStripRows;
  const float* const bias = a.bias[strip] != nullptr ? a.bias[strip] + first : nullptr;
  Rows16 x_scale{};
  if constexpr (kType == WeightType::kInt8) x_scale = load_unaligned(a.x_scale + strip * kStripRows);
  const auto finish = [&](uint32_t c, const Rows16& init) PETS_LAMBDA {
    if constexpr (kType == WeightType::kInt8) {
      store(mul_add(to_floats(column[c]), mul(x_scale, broadcast(a.w_scale[first + c])), init), y + c * kStripRows);
    } else {
      store(add(floats(column[c]), init), y + c * kStripRows);
    }
  };
  if (width == kPanelColumns && bias != nullptr) {
    PETS_UNROLL for (uint32_t c = 0; c < kPanelColumns; ++c) finish(c, rows_of(bias[c]));
  } else {
    for (uint32_t c = 0; c < width; ++c) finish(c, bias != nullptr ? rows_of(bias[c]) : load(y + c * kStripRows));
  }
}

/// Multiplies tile `t` of a panel by those of the strips kStrip..., into sums from number kFirst on, and asks for a tile of the next panel.
template <class Unit, WeightType kType, int kFirst, int... kStrip>
PETS_INLINE void multiply_tile(const int32_t* weights, const int32_t* x, size_t x_stride, const char* next,
                               std::integer_sequence<int, kStrip...>) {
  constexpr size_t kTileLines = kTileSize * sizeof(int32_t) / 64, kStrips = sizeof...(kStrip);
  Unit::template load<kWeightsTile>(weights);
  const auto multiply = [&]<int kStripOf, size_t kPart>() PETS_LAMBDA {
    Unit::template load<kInputsTile>(x + kStripOf * x_stride);
    Unit::template dot<kType, kFirst + kStripOf, kInputsTile, kWeightsTile>();
    constexpr size_t kBegin = kPart * kTileLines / kStrips, kEnd = (kPart + 1) * kTileLines / kStrips;
    PETS_UNROLL for (size_t line = kBegin; line < kEnd; ++line) prefetch_l2(next + line * 64);
  };
  (multiply.template operator()<kStrip, static_cast<size_t>(kStrip)>(), ...);
}

template <class Unit, WeightType kType, int kPanels, int... kStrip>
void matrix_strips(const DotPanel& a, uint32_t first, std::integer_sequence<int, kStrip...> strips) {
  constexpr int kStrips = sizeof...(kStrip);
  constexpr size_t kTileBytes = kTileSize * sizeof(int32_t);
  const size_t x_stride = a.x_stride / sizeof(int32_t);
  const auto* x = static_cast<const int32_t*>(a.x) + first * x_stride;
  const auto* next = static_cast<const char*>(a.prefetch != nullptr ? a.prefetch : a.panel);
  const size_t panel_bytes = panel_offset(padded_inputs(kType, a.k), 1) * weight_bytes(kType);
  WeightTiles<kType> weights(a, 0), second(a, kPanels - 1);
  (Unit::template clear<kStrip>(), ...);
  if constexpr (kPanels == 2) (Unit::template clear<kStrips + kStrip>(), ...);
  for (size_t t = 0; t < weights.tiles(); ++t, x += kTileSize, next += kTileBytes) {
    multiply_tile<Unit, kType, 0>(weights.tile(t), x, x_stride, next, strips);
    if constexpr (kPanels == 2) multiply_tile<Unit, kType, kStrips>(second.tile(t), x, x_stride, next + panel_bytes, strips);
  }
  alignas(64) int32_t sums[kPanels * kStrips][kTileSize];
  (Unit::template store<kStrip>(sums[kStrip]), ...);
  if constexpr (kPanels == 2) (Unit::template store<kStrips + kStrip>(sums[kStrips + kStrip]), ...);
  PETS_UNROLL for (uint32_t panel = 0; panel < kPanels; ++panel) {
    PETS_UNROLL for (uint32_t s = 0; s < kStrips; ++s) finish_strip<Unit, kType>(a, first + s, panel, sums[panel * kStrips + s]);
  }
}

template <class Unit, WeightType kType>
void dot_panel_of_type(const DotPanel& a) {
  const bool two = a.width > kPanelColumns;
  const uint32_t most = two ? kMostMatrixStripsOfTwo : kMostMatrixStrips;
  const auto strips = [&]<int kStrips>(uint32_t first) PETS_LAMBDA {
    constexpr auto kSequence = std::make_integer_sequence<int, kStrips>();
    if constexpr (kStrips <= kMostMatrixStripsOfTwo) {
      if (two) return matrix_strips<Unit, kType, 2>(a, first, kSequence);
    }
    matrix_strips<Unit, kType, 1>(a, first, kSequence);
  };
  for (uint32_t first = 0; first < a.strips; first += most) {
    switch (a.strips - first < most ? a.strips - first : most) {
      case 1:
        strips.template operator()<1>(first);
        break;
      case 2:
        strips.template operator()<2>(first);
        break;
      case 3:
        strips.template operator()<3>(first);
        break;
      case 4:
        strips.template operator()<4>(first);
        break;
      case 5:
        strips.template operator()<5>(first);
        break;
      default:
        strips.template operator()<6>(first);
        break;
    }
  }
}

template <class Unit>
PETS_INLINE void convert_strip_to_rows(WeightType type, const float* x, size_t k, void* out, float* scale) {
  auto* words = static_cast<int32_t*>(out);
  type == WeightType::kInt8 ? convert_strip_by_rows<Unit, WeightType::kInt8>(x, k, words, scale)
                            : convert_strip_by_rows<Unit, WeightType::kBFloat16>(x, k, words, scale);
}
template <class Unit>
PETS_INLINE void dot_panel_by_matrix(const DotPanel& a) {
  a.type == WeightType::kInt8 ? dot_panel_of_type<Unit, WeightType::kInt8>(a) : dot_panel_of_type<Unit, WeightType::kBFloat16>(a);
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
