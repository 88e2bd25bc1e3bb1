#include "tests/kernels/gemm/emulated_dots.h"

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>

#define PETS_SIMD_NAMESPACE emulated_dot_units
#include "kernels/simd/plain_vectors.h"
// The vectors come first: what follows is written with them.
#include "kernels/attention/bfloat_attention-inl.h"
#include "kernels/gemm/dot_columns-inl.h"
#include "kernels/gemm/dot_masked-inl.h"
#include "kernels/gemm/dot_matrix-inl.h"
#include "kernels/gemm/dot_tile-inl.h"

namespace pets::kernels::emulated_dot_units {
namespace {

struct Words {
  int32_t value[kStripRows];
  void load(const int32_t* p) { std::memcpy(value, p, sizeof value); }
};
template <int kColumns>
struct WordOfColumn {
  const int32_t* p;
  explicit WordOfColumn(const int32_t* words) : p(words) {}
  int32_t column(int c) const {
    int32_t word;
    std::memcpy(&word, p + c, sizeof word);
    return word;
  }
};
/// Calls each(row, sum) for the 16 sums.
template <class Sums, class Each>
Sums with_each_row(Sums sums, const Each& each) {
  using Sum = std::remove_reference_t<decltype(sums.v[0][0])>;
  Sum sum[kStripRows];
  std::memcpy(sum, &sums, sizeof sum);
  for (uint32_t row = 0; row < kStripRows; ++row) sum[row] = each(row, sum[row]);
  std::memcpy(&sums, sum, sizeof sum);
  return sums;
}

/// vpdpbusd
int32_t dpbusd(int32_t sum, int32_t bytes, int32_t weights) {
  for (int j = 0; j < 4; ++j) sum += static_cast<uint8_t>(bytes >> 8 * j) * static_cast<int8_t>(weights >> 8 * j);
  return sum;
}

/// AVX-512's shapes: three strips share a weight.
struct VnniUnit {
  static constexpr WeightType kType = WeightType::kInt8;
  static constexpr bool kWide = false, kUnsigned = true;
  static constexpr int columns(int strips) { return strips == 1 ? 16 : 8; }
  using Sums = Bits16;
  using Inputs = Words;
  template <int kColumns>
  using Weights = WordOfColumn<kColumns>;
  static Bits16 dot(const Bits16& sums, const Words& inputs, int32_t weight) {
    return with_each_row(sums, [&](uint32_t row, int32_t sum) { return dpbusd(sum, inputs.value[row], weight); });
  }
  static Bits16 dot_columns(const Bits16& sums, int32_t input, const Bits16& words) {
    int32_t word[kStripRows];
    std::memcpy(word, &words, sizeof word);
    return with_each_row(sums, [&](uint32_t column, int32_t sum) { return dpbusd(sum, input, word[column]); });
  }
  static Bits16 load_kept(const Bits16& planes, uint32_t input, const uint32_t* words) {
    return keep_inputs<4>(planes, input, load_bits_unaligned(words));
  }
  static Bits16 column_sums(const Bits16& sums, const Bits16& words) { return dot_columns(sums, 0x01010101, words); }
};

/// vpmaddwd and vpaddd.
struct Pmaddwd {
  static constexpr WeightType kType = WeightType::kInt8;
  static constexpr bool kWide = true, kUnsigned = false;
  static constexpr int columns(int strips) { return strips == 1 ? 16 : 8; }
  using Sums = Bits16;
  using Inputs = Words;
  template <int kColumns>
  using Weights = WordOfColumn<kColumns>;
  static Bits16 dot(const Bits16& sums, const Words& inputs, int32_t weight) {
    return with_each_row(sums, [&](uint32_t row, int32_t sum) {
      const int32_t words = inputs.value[row];
      return sum + static_cast<int16_t>(words) * static_cast<int16_t>(weight) + (words >> 16) * (weight >> 16);
    });
  }
};

float without_subnormals(float value) { return std::fabs(value) < 0x1p-126F ? std::copysign(0.0F, value) : value; }

/// vdpbf16ps: the odd product first, subnormals as zero.
struct Dpbf16 {
  static constexpr WeightType kType = WeightType::kBFloat16;
  static constexpr bool kWide = false, kUnsigned = false;
  static constexpr int columns(int strips) { return strips == 1 ? 16 : 8; }
  using Sums = Rows16;
  using Inputs = Words;
  template <int kColumns>
  using Weights = WordOfColumn<kColumns>;
  static void store_bfloats(const Rows16& rows, uint16_t* out) {
    alignas(64) float value[kStripRows];
    pets::kernels::emulated_dot_units::store(rows, value);
    for (uint32_t row = 0; row < kStripRows; ++row) out[row] = bfloat_from_float(value[row]);
  }
  static void join(const uint16_t* first, uint32_t from, const uint16_t* second, uint32_t count, uint16_t* out) {
    for (uint32_t i = 0; i < kStripRows; ++i) {
      out[i] = i >= count ? uint16_t{0} : from + i < kStripRows ? first[from + i] : second[from + i - kStripRows];
    }
  }
  static float add_products(float sum, int32_t a, int32_t b) {
    const auto half = [](int32_t word, int j) { return without_subnormals(float_from_bfloat(static_cast<uint16_t>(word >> 16 * j))); };
    for (int j : {1, 0}) sum = without_subnormals(std::fma(half(a, j), half(b, j), without_subnormals(sum)));
    return sum;
  }
  static Rows16 dot(const Rows16& sums, const Words& inputs, int32_t weight) {
    return with_each_row(sums, [&](uint32_t row, float sum) { return add_products(sum, inputs.value[row], weight); });
  }
  static Bits16 load_kept(const Bits16& planes, uint32_t input, const uint32_t* words) {
    return keep_inputs<2>(planes, input, load_bits_unaligned(words));
  }
  static Rows16 dot_columns(const Rows16& sums, int32_t input, const Bits16& words) {
    int32_t word[kStripRows];
    std::memcpy(word, &words, sizeof word);
    return with_each_row(sums, [&](uint32_t column, float sum) { return add_products(sum, input, word[column]); });
  }
};

/// AMX: tdpbssd; tdpbf16ps, which sums even and odd products apart, subnormals as zero.
struct AmxTiles {
  using Words = int32_t[kStripRows][kTileWords];
  static inline thread_local Words tile[8];
  static inline thread_local bool ready = false;  // what ldtilecfg sets

  static void begin() { ready = true; }
  static void end() { ready = false; }
  template <int kTile>
  static void load(const int32_t* words) {
    std::memcpy(tile[kTile], words, sizeof(Words));
  }
  template <int kTile>
  static void store(int32_t* words) {
    std::memcpy(words, tile[kTile], sizeof(Words));
  }
  template <int kTile>
  static void clear() {
    if (!ready) std::abort();
    std::memset(tile[kTile], 0, sizeof(Words));
  }
  template <WeightType kType, int kSums, int kInputs, int kWeights>
  static void dot() {
    for (uint32_t row = 0; row < kStripRows; ++row) {
      for (uint32_t c = 0; c < kPanelColumns; ++c) {
        int32_t& sum = tile[kSums][row][c];
        if constexpr (kType == WeightType::kInt8) {
          for (uint32_t w = 0; w < kTileWords; ++w) sum += dot_int8(tile[kInputs][row][w], tile[kWeights][w][c]);
        } else {
          float odd_even[2] = {};
          for (uint32_t w = 0; w < kTileWords; ++w) {
            for (int j : {0, 1}) {
              const float x = half(tile[kInputs][row][w], j), weight = half(tile[kWeights][w][c], j);
              odd_even[j] = without_subnormals(std::fma(x, weight, odd_even[j]));
            }
          }
          const float both = without_subnormals(odd_even[0] + odd_even[1]);
          sum = std::bit_cast<int32_t>(without_subnormals(without_subnormals(std::bit_cast<float>(sum)) + both));
        }
      }
    }
  }
  static void transpose(Bits16 (&words)[16]) {
    Words from, to;
    std::memcpy(from, words, sizeof from);
    for (uint32_t i = 0; i < 16; ++i) {
      for (uint32_t j = 0; j < 16; ++j) to[i][j] = from[j][i];
    }
    std::memcpy(words, to, sizeof to);
  }

 private:
  static int32_t dot_int8(int32_t inputs, int32_t weights) {
    int32_t sum = 0;
    for (int j = 0; j < 4; ++j) sum += static_cast<int8_t>(inputs >> 8 * j) * static_cast<int8_t>(weights >> 8 * j);
    return sum;
  }
  static float half(int32_t word, int j) { return without_subnormals(float_from_bfloat(static_cast<uint16_t>(word >> 16 * j))); }
};

template <class Int8Unit>
void convert(WeightType type, const float* x, size_t k, void* out, float* scale) {
  type == WeightType::kInt8 ? convert_strip_with<Int8Unit>(x, k, out, scale) : convert_strip_with<Dpbf16>(x, k, out, scale);
}
template <class Int8Unit>
void panel(const DotPanel& a) {
  a.type == WeightType::kInt8 ? dot_panel_with<Int8Unit>(a) : dot_panel_with<Dpbf16>(a);
}
/// As gemm/dot_avx512-inl.h does it; here few rows are those of one strip.
template <class Unit>
void panel_under_planes(const DotPanel& a) {
  a.strips == 1 || kMaskedByColumns<Unit> ? dot_columns_from<Unit, true>(a, 0) : woven_dot_panels<Unit>(a);
}
void woven_panel(const DotPanel& a) {
  if (a.planes == nullptr) return panel<VnniUnit>(a);
  a.type == WeightType::kInt8 ? panel_under_planes<VnniUnit>(a) : panel_under_planes<Dpbf16>(a);
}

}  // namespace
}  // namespace pets::kernels::emulated_dot_units

namespace pets::kernels {

std::vector<EmulatedDot> emulated_dots() {
  namespace units = emulated_dot_units;
  using Amx = units::AmxTiles;
  return {
      {"emulated_avx512", {false, 1, 1, 1, units::convert<units::Pmaddwd>, units::panel<units::Pmaddwd>, nullptr, nullptr}},
      {"emulated_avx512_vnni_bf16",
       {true, 1, kMostDotPanels, kAnyPanels, units::convert<units::VnniUnit>, units::woven_panel, nullptr, nullptr,
        &units::kBfloatAttention<units::Dpbf16>}},
      {"emulated_avx512_amx", {true, 16, 2, 1, units::convert_strip_to_rows<Amx>, units::dot_panel_by_matrix<Amx>, Amx::begin, Amx::end}}};
}

}  // namespace pets::kernels
