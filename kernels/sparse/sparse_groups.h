// Sparse deltas as the GPU's kernel reads them: what the lanes of a warp read at once lies together.
//
// A panel is 32 neighbouring columns, one warp's work: lanes 2 l and 2 l + 1 share columns 2 l and 2 l + 1. A column's entries are in
// groups of four, and a pair of lanes takes those of its first column, then those of its second. The groups of a panel lie in the order in
// which the warp takes them: the first of every pair that has one, then the second of every pair that has two, and so on. So the loads of
// a warp are of neighbouring bytes however long the columns are, and only the last group of a column is filled up.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pets::kernels {

inline constexpr uint32_t kSparsePanelColumns = 32;
inline constexpr uint32_t kSparseGroupEntries = 4;
inline constexpr uint32_t kSparseBanks = 4;  ///< places of 32 bytes (16 rows of halves) that shared memory serves at once

struct SparsePanel {
  uint32_t first_group = 0;
  uint16_t groups[kSparsePanelColumns] = {};  ///< of each column
};

/// Where an input lies among a tile's staged inputs. Lanes that stage neighbouring vectors of eight inputs write one of each at once: in
/// order, those would be in the same banks. Places [in, in + kSparseBanks) hold zeros.
#if defined(__CUDACC__)
__host__ __device__
#endif
    constexpr uint32_t
    sparse_place(uint32_t input) {
  return input ^ input / 8 % kSparseBanks;
}

/// A sparse operator as bundles have it.
struct SparseColumns {
  const uint32_t* column_start = nullptr;  ///< [out + 1] into the entries; a column has at most 65,535
  const uint16_t* rows = nullptr;          ///< input of each entry
  const float* values = nullptr;
  uint32_t in = 0;  ///< as the kernel has it, a multiple of 8, at most 65,528
  uint32_t out = 0;
};

constexpr size_t sparse_panel_count(uint32_t out) { return (size_t{out} + kSparsePanelColumns - 1) / kSparsePanelColumns; }
size_t sparse_group_count(const uint32_t* column_start, uint32_t out);

/// Writes panels [sparse_panel_count(out)], places and values [sparse_group_count(column_start, out)][kSparseGroupEntries]. The entries of
/// a column change their order, so that those which lanes read at once lie in different banks where they can.
void group_sparse(const SparseColumns& from, SparsePanel* panels, uint16_t* places, float* values);

}  // namespace pets::kernels
