// Tiles across half strips, for instruction sets whose registers hold half a strip and number 16 (AVX2): three halves x four columns.
//
// A tile of m registers of rows x n columns loads m + n values for m * n multiply-adds and needs m * n + m + 1 registers. One strip
// (two registers) x 6 columns takes 20 instructions for 12 multiply-adds, three half strips x 4 columns take 19, read each weight once for
// 24 rows, and divide a panel of 16 columns evenly (6 + 5 + 5 did not). Instructions count like ports do: where the sibling thread of
// the core is busy, three are issued a cycle, two of them multiply-adds.
//
// K is worked off in passes of kPassRows, so that two strips (16 KiB) and a panel (8 KiB) stay in an L1 cache of 32 KiB while all columns
// pass over them. Chains wait in y between passes, which leaves their bits as they are. The next panel is asked into L2 a line every
// eighth step: all at once, its lines would delay the tile's own loads.
#pragma once

#include "kernels/gemm/tile-inl.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

inline constexpr size_t kPassRows = 128;
inline constexpr size_t kLine = 64;     ///< bytes that one request brings
inline constexpr size_t kUnrolled = 8;  ///< steps of k between two lines that are asked for

/// Two half strips (one strip) or three; or one, where no more rows than it has are wanted.
template <int kHalves>
struct HalfStrips {
  const float* x[kHalves];
  float* y[kHalves];
  const float* bias[kHalves];  ///< of the tile's first column; null: the chain starts from y
};
/// Columns of a tile at most: sums, rows and one weight take 15 or 16 registers.
template <int kHalves>
inline constexpr uint32_t kMostColumns = kHalves == 3   ? 4
                                         : kHalves == 2 ? 6
                                                        : 8;

/// Asks for kLines lines of the next panel every kUnrolled steps.
template <int kLines>
struct AskForLines {
  const char* line;
  PETS_INLINE void step() {
    PETS_UNROLL for (int i = 0; i < kLines; ++i) prefetch_l2(line + i * kLine);
    line += kLines * kLine;
  }
};
/// Lines of the next panel that tiles ask for, up to `end`: so many at a time that the tiles of one pass reach its end.
struct NextLines {
  const char* line = nullptr;  ///< null: none
  const char* end = nullptr;
  size_t at_a_time = 1;  ///< 1, 3 or 4: the tiles of one strip are three, of half of one two, of 16 lines each, for the 128 lines of a pass

  bool left() const { return line < end; }
  void asked(size_t steps) { line += steps / kUnrolled * at_a_time * kLine; }
};

// Left to themselves, compilers load rows again for each product, until the load ports limit the tile, or move loads ahead and spill sums
// (0.8 of the rate); so the order is spelled out for them.
#if defined(__x86_64__) && defined(__FMA__)
PETS_INLINE vectors::V load_rows(const float* p) {
  vectors::V rows;
  __asm__ volatile("vmovaps %1, %0" : "=x"(rows.raw) : "m"(*reinterpret_cast<const float(*)[vectors::kLanes]>(p)));
  return rows;
}
/// sum_r += rows[r] * *weight
PETS_INLINE void multiply_add(const vectors::V (&rows)[3], const float* weight, vectors::V& a, vectors::V& b, vectors::V& c) {
  vectors::V w;
  __asm__ volatile(
      "vbroadcastss %4, %3\n\t"
      "vfmadd231ps %5, %3, %0\n\t"
      "vfmadd231ps %6, %3, %1\n\t"
      "vfmadd231ps %7, %3, %2"
      : "+x"(a.raw), "+x"(b.raw), "+x"(c.raw), "=&x"(w.raw)
      : "m"(*weight), "x"(rows[0].raw), "x"(rows[1].raw), "x"(rows[2].raw));
}
PETS_INLINE void multiply_add(const vectors::V (&rows)[2], const float* weight, vectors::V& a, vectors::V& b) {
  vectors::V w;
  __asm__ volatile(
      "vbroadcastss %3, %2\n\t"
      "vfmadd231ps %4, %2, %0\n\t"
      "vfmadd231ps %5, %2, %1"
      : "+x"(a.raw), "+x"(b.raw), "=&x"(w.raw)
      : "m"(*weight), "x"(rows[0].raw), "x"(rows[1].raw));
}
PETS_INLINE void multiply_add(const vectors::V (&rows)[1], const float* weight, vectors::V& a) {
  vectors::V w;
  __asm__ volatile(
      "vbroadcastss %2, %1\n\t"
      "vfmadd231ps %3, %1, %0"
      : "+x"(a.raw), "=&x"(w.raw)
      : "m"(*weight), "x"(rows[0].raw));
}
#else
PETS_INLINE vectors::V load_rows(const float* p) { return hn::Load(FloatTag(), p); }
PETS_INLINE void multiply_add(const vectors::V (&rows)[3], const float* weight, vectors::V& a, vectors::V& b, vectors::V& c) {
  const Broadcast w = broadcast(*weight);
  a = hn::MulAdd(rows[0], w, a);
  b = hn::MulAdd(rows[1], w, b);
  c = hn::MulAdd(rows[2], w, c);
}
PETS_INLINE void multiply_add(const vectors::V (&rows)[2], const float* weight, vectors::V& a, vectors::V& b) {
  const Broadcast w = broadcast(*weight);
  a = hn::MulAdd(rows[0], w, a);
  b = hn::MulAdd(rows[1], w, b);
}
PETS_INLINE void multiply_add(const vectors::V (&rows)[1], const float* weight, vectors::V& a) {
  a = hn::MulAdd(rows[0], broadcast(*weight), a);
}
#endif

/// Keeps the compiler from making several counters of one.
PETS_INLINE void hold_index(ptrdiff_t& at) { __asm__("" : "+r"(at)); }

/// kStride: distance of the weights' rows where it is known, 0: w_stride.
template <int kHalves, int kColumns, size_t kStride, class SideWork>
PETS_INLINE void half_strip_tile_with(const HalfStrips<kHalves>& h, const float* w, size_t w_stride, size_t steps, SideWork side) {
  const size_t stride = kStride != 0 ? kStride : w_stride;
  vectors::V sum[kColumns][kHalves];
  PETS_UNROLL for (int r = 0; r < kHalves; ++r) {
    if (h.bias[r]) {
      PETS_UNROLL for (int c = 0; c < kColumns; ++c) sum[c][r] = broadcast(h.bias[r][c]);
    } else {
      PETS_UNROLL for (int c = 0; c < kColumns; ++c) sum[c][r] = hn::Load(FloatTag(), h.y[r] + c * kStripRows);
    }
  }
  const float* x[kHalves];
  PETS_UNROLL for (int r = 0; r < kHalves; ++r) x[r] = h.x[r];
  const auto move = [&](ptrdiff_t rows, ptrdiff_t weights) PETS_LAMBDA {
    PETS_UNROLL for (int r = 0; r < kHalves; ++r) x[r] += rows;
    w += weights;
  };
  const auto step = [&](ptrdiff_t at) PETS_LAMBDA {
    vectors::V rows[kHalves];
    PETS_UNROLL for (int r = 0; r < kHalves; ++r) rows[r] = load_rows(x[r] + at);
    PETS_UNROLL for (int c = 0; c < kColumns; ++c) {
      if constexpr (kHalves == 3) {
        multiply_add(rows, w + at + c, sum[c][0], sum[c][1], sum[c][2]);
      } else if constexpr (kHalves == 2) {
        multiply_add(rows, w + at + c, sum[c][0], sum[c][1]);
      } else {
        multiply_add(rows, w + at + c, sum[c][0]);
      }
    }
  };
  size_t left = steps;
  if constexpr (kStride == kStripRows) {
    // Rows and weights are equally far apart: one index, counted up to zero, serves them all.
    const auto end = static_cast<ptrdiff_t>(left / kUnrolled * kUnrolled * kStripRows);
    move(end, end);
    for (ptrdiff_t at = -end; at != 0; at += kUnrolled * kStripRows) {
      hold_index(at);
      side.step();
      PETS_UNROLL for (size_t i = 0; i < kUnrolled; ++i) step(at + static_cast<ptrdiff_t>(i * kStripRows));
    }
    left %= kUnrolled;
  }
  for (; left != 0; --left) {
    step(0);
    move(kStripRows, static_cast<ptrdiff_t>(stride));
  }
  PETS_UNROLL for (int r = 0; r < kHalves; ++r) {
    PETS_UNROLL for (int c = 0; c < kColumns; ++c) hn::Store(sum[c][r], FloatTag(), h.y[r] + c * kStripRows);
  }
}

template <int kHalves, int kColumns>
void half_strip_tile(const HalfStrips<kHalves>& h, const float* w, size_t w_stride, size_t steps, const NextLines& next) {
  if (w_stride != kStripRows) {
    half_strip_tile_with<kHalves, kColumns, 0>(h, w, w_stride, steps, NoSideWork());
  } else if (next.left() && next.at_a_time == 1) {
    half_strip_tile_with<kHalves, kColumns, kStripRows>(h, w, w_stride, steps, AskForLines<1>{next.line});
  } else if (next.left()) {
    half_strip_tile_with<kHalves, kColumns, kStripRows>(h, w, w_stride, steps, AskForLines < kHalves == 1 ? 4 : 3 > {next.line});
  } else {
    half_strip_tile_with<kHalves, kColumns, kStripRows>(h, w, w_stride, steps, NoSideWork());
  }
}
template <int kHalves>
using HalfStripTileFn = void (*)(const HalfStrips<kHalves>&, const float*, size_t, size_t, const NextLines&);
template <int kHalves, int kColumns>
constexpr HalfStripTileFn<kHalves> half_strip_tile_or_null() {
  if constexpr (kColumns <= kMostColumns<kHalves>) {
    return half_strip_tile<kHalves, kColumns>;
  } else {
    return nullptr;
  }
}
/// By columns.
template <int kHalves>
inline constexpr HalfStripTileFn<kHalves> kHalfStripTiles[9] = {
    nullptr,
    half_strip_tile_or_null<kHalves, 1>(),
    half_strip_tile_or_null<kHalves, 2>(),
    half_strip_tile_or_null<kHalves, 3>(),
    half_strip_tile_or_null<kHalves, 4>(),
    half_strip_tile_or_null<kHalves, 5>(),
    half_strip_tile_or_null<kHalves, 6>(),
    half_strip_tile_or_null<kHalves, 7>(),
    half_strip_tile_or_null<kHalves, 8>(),
};

/// How a panel of so many columns is divided into tiles, as equal as can be: a table, as a division takes longer than a step of k.
struct TileColumns {
  uint8_t count = 0;
  uint8_t columns[4] = {};
};
template <int kHalves>
struct AllTileColumns {
  TileColumns of_width[kPanelColumns + 1];
  constexpr AllTileColumns() : of_width() {
    for (uint32_t width = 1; width <= kPanelColumns; ++width) {
      const uint32_t count = (width + kMostColumns<kHalves> - 1) / kMostColumns<kHalves>;
      of_width[width].count = static_cast<uint8_t>(count);
      for (uint32_t i = 0; i < count; ++i) of_width[width].columns[i] = static_cast<uint8_t>(width / count + (i < width % count));
    }
  }
  constexpr const TileColumns& operator[](uint32_t width) const { return of_width[width]; }
};
template <int kHalves>
inline constexpr AllTileColumns<kHalves> kTileColumns;

/// Half strips (rows set in h) times one pass over the panel at t.w.
template <int kHalves>
void half_strip_tiles(HalfStrips<kHalves> h, const Tile& t, uint32_t width, NextLines& next) {
  const TileColumns& tiles = kTileColumns<kHalves>[width];
  const float* w = t.w;
  for (uint32_t i = 0; i < tiles.count; ++i) {
    const uint32_t columns = tiles.columns[i];
    kHalfStripTiles<kHalves>[columns](h, w, t.w_stride, t.k, next);
    next.asked(t.k);
    w += columns;
    for (int r = 0; r < kHalves; ++r) {
      h.y[r] += columns * kStripRows;
      if (h.bias[r]) h.bias[r] += columns;
    }
  }
}

/// The kHalves half strips that begin with half `first` of t's.
template <int kHalves>
PETS_INLINE HalfStrips<kHalves> half_strips_from(const Tile& t, uint32_t first) {
  HalfStrips<kHalves> h;
  for (uint32_t r = 0; r < kHalves; ++r) {
    const uint32_t strip = (first + r) / 2, lane = (first + r) % 2 * kStripRows / 2;
    h.x[r] = t.x + strip * t.x_stride + lane;
    h.y[r] = t.y + strip * t.y_stride + lane;
    h.bias[r] = t.bias && t.bias[strip] ? t.bias[strip] + t.first_column : nullptr;
  }
  return h;
}

/// Any number of rows times one panel: see LinearPanel. Rows up to the end of the half strip are computed with them. A strip's other half
/// becomes zeros where the first one is all: values that stay as they are would be activated again and again, until they are subnormal.
inline void half_strip_panel(Tile t, uint32_t width, uint32_t rows) {
  const uint32_t halves = (rows + kStripRows / 2 - 1) / (kStripRows / 2);
  if (halves == 1) {
    for (uint32_t c = 0; c < width; ++c) hn::Store(broadcast(0), FloatTag(), t.y + c * kStripRows + kStripRows / 2);
  }
  size_t left = t.k;
  do {
    t.k = left < kPassRows ? left : kPassRows;
    left -= t.k;
    NextLines next;
    if (t.prefetch) next = {t.prefetch, t.prefetch + t.k * t.prefetch_step, halves == 1 ? size_t{4} : halves < 6 ? size_t{3} : size_t{1}};
    for (uint32_t half = 0; half < halves;) {
      // Threes where no single one is left over.
      const uint32_t remain = halves - half;
      if (halves == 1) {
        half_strip_tiles<1>(half_strips_from<1>(t, half), t, width, next);
        half += 1;
      } else if (remain == 3 || remain > 4) {
        half_strip_tiles<3>(half_strips_from<3>(t, half), t, width, next);
        half += 3;
      } else {
        half_strip_tiles<2>(half_strips_from<2>(t, half), t, width, next);
        half += 2;
      }
    }
    t.x += t.k * kStripRows;
    t.w += t.k * t.w_stride;
    if (t.prefetch) t.prefetch += t.k * t.prefetch_step;
    t.bias = nullptr;
  } while (left > 0);
}

/// A panel times any number of rows, in the tiles that suit the instruction set. Of the last strip's other rows y may hold anything after.
inline void tile_panel(const Tile& t, uint32_t width, uint32_t rows) {
  if constexpr (kVectors == 2) {
    half_strip_panel(t, width, rows);
  } else {
    tile_strips(t, width, (rows + kStripRows - 1) / kStripRows);
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
