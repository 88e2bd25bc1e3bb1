#include "kernels/embedding/embedding.h"
#include "kernels/reference/reference_kernels.h"

namespace pets::kernels::reference {

void embedding_strip(const EmbeddingStrip& e) {
  for (uint32_t row = 0; row < kStripRows; ++row) {
    for (size_t f = 0; f < e.hidden; ++f) {
      e.y[f * kStripRows + row] = e.word[row] ? (e.word[row][f] + e.token_type[row][f]) + e.position[row][f] : 0;
    }
  }
}

}  // namespace pets::kernels::reference
