// Sparse deltas as the GPU's kernel reads them: what the lanes of a warp read at once lies together.
//
// A panel is 32 neighbouring columns, one warp's work. Their entries, in groups of four of one column, are dealt out to the warp's sixteen
// pairs of lanes in equal runs, so that no lane waits for another's longer column; a run begins and ends within columns. The groups lie in
// the order in which the warp takes them: the first of every run, then the second of every run. So the loads of a warp are of neighbouring
// bytes. Filled up are the last group of a column and the last runs of a panel: an entry takes 8.1 bytes where columns have 8, 6.5 where
// they have 31, of which six are its own.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pets::kernels {

inline constexpr uint32_t kSparsePanelColumns = 32;
inline constexpr uint32_t kSparseRuns = 16;  ///< of a panel
inline constexpr uint32_t kSparseGroupEntries = 4;
inline constexpr uint32_t kSparseBanks = 4;  ///< places of 32 bytes (16 rows of halves) that shared memory serves at once

struct alignas(8) SparsePanel {
  uint32_t first_group = 0;
  uint16_t rounds = 0;     ///< groups of every run
  uint16_t continued = 0;  ///< runs, one bit each, whose last column goes on in the next run
};

/// The places of a group's entries have 13 bits. The three above them of entries 0 and 2, the lower halves of two words, tell the column in
/// the panel and whether the group is its last.
inline constexpr uint32_t kSparsePlaceBits = 13, kSparsePlaceMask = (1U << kSparsePlaceBits) - 1, kSparseLastBit = 0x8000;

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
  const uint32_t* column_start = nullptr;  ///< [out + 1] into the entries; a panel has at most 4,000,000
  const uint16_t* rows = nullptr;          ///< input of each entry
  const float* values = nullptr;
  uint32_t in = 0;  ///< as the kernel has it, a multiple of 8, at most 8,184
  uint32_t out = 0;
};

constexpr size_t sparse_panel_count(uint32_t out) { return (size_t{out} + kSparsePanelColumns - 1) / kSparsePanelColumns; }
/// Those that fill up runs included.
size_t sparse_group_count(const uint32_t* column_start, uint32_t out);

/// Writes panels [sparse_panel_count(out)], places and values [sparse_group_count(column_start, out)][kSparseGroupEntries]. The entries of
/// a column change their order, so that those which lanes read at once lie in different banks where they can.
void group_sparse(const SparseColumns& from, SparsePanel* panels, uint16_t* places, float* values);

}  // namespace pets::kernels
