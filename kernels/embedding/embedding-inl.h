// embedding_strip for one instruction set: see embedding/embedding.h. It is 0.1 % of an encoder's time, so it stays simple: 16 features
// of each row at a time are summed with features in lanes, then turned by plain loads and stores.
#pragma once

#include "kernels/embedding/embedding.h"
#include "kernels/simd/rows16.h"

PETS_SIMD_BEGIN;
namespace pets::kernels::PETS_SIMD_NAMESPACE {

inline void embedding_strip(const EmbeddingStrip& e) {
  for (size_t first = 0; first < e.hidden; first += kStripRows) {
    const size_t features = e.hidden - first < kStripRows ? e.hidden - first : kStripRows;
    alignas(64) float block[kStripRows][kStripRows];  // [row][feature]
    for (uint32_t row = 0; row < kStripRows; ++row) {
      if (!e.word[row]) {
        store(rows_of(0), block[row]);
        continue;
      }
      const Rows16 word = load_unaligned(e.word[row] + first);
      const Rows16 type = load_unaligned(e.token_type[row] + first);
      store(add(add(word, type), load_unaligned(e.position[row] + first)), block[row]);
    }
    for (size_t f = 0; f < features; ++f) {
      float* y = e.y + (first + f) * kStripRows;
      PETS_UNROLL for (uint32_t row = 0; row < kStripRows; ++row) y[row] = block[row][f];
    }
  }
}

}  // namespace pets::kernels::PETS_SIMD_NAMESPACE
PETS_SIMD_END;
