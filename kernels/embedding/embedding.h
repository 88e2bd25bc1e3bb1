// Embedding sum: the start of the encoder.
#pragma once

#include "kernels/strip.h"

namespace pets::kernels {

/// y[f][row] = (word[row][f] + token_type[row][f]) + position[row][f] for the 16 rows of a strip (transformers' order of sums).
/// word, token_type, position: 16 pointers each to [hidden] float32 table rows (no alignment; 64 readable bytes behind); a null word
/// pointer marks a lane without a row: zeros. y: [hidden][16] aligned.
struct EmbeddingStrip {
  const float* const* word = nullptr;
  const float* const* token_type = nullptr;
  const float* const* position = nullptr;
  size_t hidden = 0;
  float* y = nullptr;
};
using EmbeddingStripFn = void (*)(const EmbeddingStrip&);

}  // namespace pets::kernels
