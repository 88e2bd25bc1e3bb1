#include "kernels/sparse/sparse_cuda.h"

#include <cstring>

#include "kernels/cuda/row_tile.h"
#include "kernels/cuda/warp_operand.h"

// A block has the inputs of a tile in shared memory, the rows of an input side by side, and its warps take panels of 32 columns
// (sparse_groups.h). Two lanes share a column, half of the rows each: of an entry a lane reads 16 bytes of shared memory, converts eight
// halves and multiplies them by the value.
namespace pets::kernels::cuda {
namespace {

constexpr unsigned kMostWarps = 24;   // 80 registers a thread; a panel each of BERT-base's 768 columns
constexpr unsigned kLeastWarps = 8;   // staging takes as long for fewer columns
constexpr unsigned kBusy = 128;       // blocks that keep a large GPU busy: with fewer tiles, a tile's columns are shared out
constexpr unsigned kTileRows = 16;    // at most
constexpr unsigned kGroupsAhead = 2;  // of a column, that are on their way: most columns of 768 inputs have no more at a density of 1 %
constexpr unsigned kSharedBytes = 99 * 1024;  // of a block, at most: every GPU since sm_80 gives as much to who asks
constexpr unsigned kUnasked = 48 * 1024;      // what every launch may have

/// Of one input, what a lane reads.
template <class T, unsigned kRows>
struct alignas(kRows * sizeof(T) < kVectorBytes ? kRows * sizeof(T) : kVectorBytes) Rows {
  StoredPair<T> pairs[kRows / 2];
};

/// A pair on its way, in words: whoever takes it apart waits for it.
template <class T>
struct PairWords {
  uint32_t words[2 * sizeof(T) / sizeof(uint32_t)] = {};

  __device__ __forceinline__ void load(const T* from) {
#if defined(__CUDACC__)
#pragma unroll
    for (unsigned i = 0; i < sizeof words / sizeof(uint32_t); ++i) words[i] = reinterpret_cast<const uint32_t*>(from)[i];
#else
    std::memcpy(words, from, sizeof words);
#endif
  }
  __device__ __forceinline__ StoredPair<T> pair() const {
    StoredPair<T> pair;
    std::memcpy(static_cast<void*>(&pair), words, sizeof words);
    return pair;
  }
};

template <class T>
__device__ __forceinline__ float first_of(const StoredPair<T>& pair) {
  return to_float(pair.values[0]);
}
template <class T>
__device__ __forceinline__ float second_of(const StoredPair<T>& pair) {
  return to_float(pair.values[1]);
}
#if defined(__CUDACC__)
// The upper halves of floats: an instruction each, not two.
template <>
__device__ __forceinline__ float first_of(const StoredPair<BFloat16>& pair) {
  return __uint_as_float(*reinterpret_cast<const uint32_t*>(&pair) << 16);
}
template <>
__device__ __forceinline__ float second_of(const StoredPair<BFloat16>& pair) {
  return __uint_as_float(*reinterpret_cast<const uint32_t*>(&pair) & 0xFFFF0000);
}
#endif

/// In words: taken apart only when they are used, so that until then nobody waits for them.
struct alignas(kSparseGroupEntries * sizeof(uint16_t)) GroupPlaces {
  uint32_t pairs[kSparseGroupEntries / 2];
  __device__ __forceinline__ unsigned of(unsigned i) const { return i % 2 == 0 ? pairs[i / 2] & 0xFFFF : pairs[i / 2] >> 16; }
};
struct alignas(kSparseGroupEntries * sizeof(float)) GroupValues {
  float of[kSparseGroupEntries];
};

/// Of each half of a tile's rows. Sixteen bytes each, those of both halves are in different banks.
__host__ __device__ constexpr unsigned places(unsigned in) { return in + kSparseBanks; }

/// The inputs of the block's rows on their way to shared memory, in words. A thread has the same eight inputs (four of float) of as many
/// rows as fill a word.
template <class T, unsigned kRows>
struct Staging {
  static constexpr unsigned kOwnRows = sizeof(uint32_t) / sizeof(T), kRowGroups = kRows / kOwnRows, kValues = kVectorBytes / sizeof(T);
  static constexpr unsigned kAtOnce = 2 / kOwnRows;  // vectors of a row; two in all are what a thread of 24 warps has of 768 inputs
  static constexpr unsigned kOwn = kRows / 2;        // rows of a lane that computes
  uint4 loaded[kAtOnce][kOwnRows];

  __device__ __forceinline__ static unsigned first_row() { return threadIdx.x % kRowGroups * kOwnRows; }
  __device__ __forceinline__ static unsigned step() { return blockDim.x / kRowGroups; }

  /// Rows that the tile does not have, which may be another task's or lie beyond the array, are not read: zeros stand for them.
  __device__ __forceinline__ void load(const T* x, unsigned in, unsigned rows, unsigned first) {
#pragma unroll
    for (unsigned n = 0; n < kAtOnce; ++n) {
      const unsigned at = (first + n * step()) * kValues;
#pragma unroll
      for (unsigned i = 0; i < kOwnRows; ++i) {
        loaded[n][i] = {0, 0, 0, 0};
        if (first_row() + i < rows && at < in) loaded[n][i] = *reinterpret_cast<const uint4*>(x + (first_row() + i) * in + at);
      }
    }
  }
  __device__ __forceinline__ void store(T* inputs, unsigned in, unsigned first) const {
    auto* const to = reinterpret_cast<uint32_t*>(inputs + (first_row() / kOwn * places(in) * kOwn + first_row() % kOwn));
    constexpr unsigned kPlaceWords = kOwn * sizeof(T) / sizeof(uint32_t);
#pragma unroll
    for (unsigned n = 0; n < kAtOnce; ++n) {
      const unsigned at = (first + n * step()) * kValues;
      if (at >= in) break;
      const uint4 a = loaded[n][0], b = loaded[n][kOwnRows - 1];
      const uint32_t words[2][kVectorBytes / sizeof(uint32_t)] = {{a.x, a.y, a.z, a.w}, {b.x, b.y, b.z, b.w}};
#pragma unroll
      for (unsigned k = 0; k < kValues; ++k) {
        uint32_t word = words[0][k / kOwnRows];
        if constexpr (kOwnRows == 2) {
          const uint32_t other = words[1][k / kOwnRows];
          word = k % 2 == 0 ? (word & 0xFFFF) | other << 16 : word >> 16 | (other & 0xFFFF0000);
        }
        to[sparse_place(at + k) * kPlaceWords] = word;
      }
    }
  }
};

/// What a lane knows of its panel.
struct Panel {
  unsigned group = 0;           // the first of the round that is asked for next
  unsigned groups[2] = {0, 0};  // of the lane's two columns

  __device__ __forceinline__ void load(const SparsePanel* panels, unsigned index) {
    if (panels == nullptr) return;
    group = panels[index].first_group;
#pragma unroll
    for (unsigned i = 0; i < 2; ++i) groups[i] = panels[index].groups[threadIdx.x % kWarpSize / 2 * 2 + i];
  }
  __device__ __forceinline__ unsigned rounds() const { return groups[0] + groups[1]; }
};

/// All groups of a site.
struct Groups {
  const GroupPlaces* places = nullptr;
  const GroupValues* values = nullptr;

  __device__ __forceinline__ void load(const TaskLinear& linear) {
    places = reinterpret_cast<const GroupPlaces*>(linear.sparse_places);
    values = reinterpret_cast<const GroupValues*>(linear.sparse_values);
  }
};

/// A group on its way. The lanes of a warp ask together.
struct Group {
  GroupPlaces places;
  GroupValues values;

  __device__ __forceinline__ void ask(const Groups& groups, Panel& panel, unsigned round) {
    const bool own = round < panel.rounds();
    const unsigned asking = __ballot_sync(kAllLanes, own), before = (1U << threadIdx.x % kWarpSize) - 1;
    if (own) {
      const unsigned at = panel.group + static_cast<unsigned>(__popc(asking & before)) / 2;
      places = groups.places[at];
      values = groups.values[at];
    }
    panel.group += static_cast<unsigned>(__popc(asking)) / 2;
  }
};

/// `inputs`: of the lane's rows.
template <class T, unsigned kOwn>
__device__ __forceinline__ void add_group(const Group& group, const Rows<T, kOwn>* inputs, float (&sums)[kOwn]) {
  Rows<T, kOwn> input[kSparseGroupEntries];
#pragma unroll
  for (unsigned e = 0; e < kSparseGroupEntries; ++e) input[e] = inputs[group.places.of(e)];
#pragma unroll
  for (unsigned e = 0; e < kSparseGroupEntries; ++e) {
    const float value = group.values.of[e];
#pragma unroll
    for (unsigned i = 0; i < kOwn / 2; ++i) {
      sums[2 * i] = fmaf(first_of(input[e].pairs[i]), value, sums[2 * i]);
      sums[2 * i + 1] = fmaf(second_of(input[e].pairs[i]), value, sums[2 * i + 1]);
    }
  }
}

template <class T, unsigned kRows>
__global__ void __launch_bounds__(kMostWarps* kWarpSize) sparse_kernel(Sparse<T> call) {
  if (call.tiles.end_before(blockIdx.x)) return;
  const RowTile tile = call.tiles.tiles[blockIdx.x];
  const unsigned skipped = blockIdx.z * kRows;
  if (skipped >= tile.rows) return;
  const unsigned rows = tile.rows - skipped, in = call.in;
  const size_t first_row = tile.first_row + skipped;
  const T* const x = call.x + first_row * in;
  T* const inputs = shared_memory<T>();
  Staging<T, kRows> staging;
  const unsigned first_vector = threadIdx.x / staging.kRowGroups;
  staging.load(x, in, rows, first_vector);

  const TaskLinear* const linears = &call.linears[tile.slot];
  bool any = false;
  for (unsigned site = 0; site < call.sites; ++site) any = any || linears[site].sparse_panels != nullptr;
  if (!any) return;

  // The warp's panels, those of all sites in a row.
  constexpr unsigned kOwn = kRows / 2;
  const unsigned lane = threadIdx.x % kWarpSize, own_row = lane % 2 * kOwn;
  T* const own_y = call.y + (first_row + own_row) * call.out_stride;
  const auto* const own_inputs = shared_memory<Rows<T, kOwn>>() + lane % 2 * places(in);
  const unsigned panels = (call.out + kSparsePanelColumns - 1) / kSparsePanelColumns, step = gridDim.y * (blockDim.x / kWarpSize);
  unsigned site = 0, index = blockIdx.y * (blockDim.x / kWarpSize) + threadIdx.x / kWarpSize;
  const auto carry = [&] {
    for (; index >= panels && site < call.sites; index -= panels) ++site;
  };
  carry();
  Panel panel;
  Groups groups;
  if (site < call.sites) {
    panel.load(linears[site].sparse_panels, index);
    groups.load(linears[site]);
  }
  Group ahead[kGroupsAhead];
#pragma unroll
  for (unsigned i = 0; i < kGroupsAhead; ++i) ahead[i].ask(groups, panel, i);

  for (unsigned first = first_vector;;) {
    staging.store(inputs, in, first);
    first += staging.kAtOnce * staging.step();
    if (first * staging.kValues >= in) break;
    staging.load(x, in, rows, first);
  }
  for (unsigned i = threadIdx.x; i < kSparseBanks * kRows; i += blockDim.x) {
    inputs[(i / (kSparseBanks * kOwn) * places(in) + in) * kOwn + i % (kSparseBanks * kOwn)] = from_float<T>(0);
  }
  __syncthreads();

  while (site < call.sites) {
    const unsigned column = site * call.out + index * kSparsePanelColumns + lane / 2 * 2;
    const T* const y = own_y + column;
    const bool writes = panel.rounds() != 0;
    PairWords<T> before[kOwn];
#pragma unroll
    for (unsigned row = 0; row < kOwn; ++row) {
      if (writes && own_row + row < rows) before[row].load(y + row * call.out_stride);
    }
    index += step;
    carry();
    Panel following;
    if (site < call.sites) following.load(linears[site].sparse_panels, index);

    // Of the lane's first column, then of its second. -0 changes no bit of y where it is the sum.
    float first_sums[kOwn], sums[kOwn];
#pragma unroll
    for (unsigned row = 0; row < kOwn; ++row) first_sums[row] = sums[row] = -0.0F;
    for (unsigned round = 0; __any_sync(kAllLanes, round < panel.rounds()); round += kGroupsAhead) {
#pragma unroll
      for (unsigned i = 0; i < kGroupsAhead; ++i) {
        if (round + i < panel.rounds()) add_group(ahead[i], own_inputs, sums);
        const bool ends = round + i + 1 == panel.groups[0];
        if (__any_sync(kAllLanes, ends)) {
#pragma unroll
          for (unsigned row = 0; row < kOwn; ++row) {
            first_sums[row] = ends ? sums[row] : first_sums[row];
            sums[row] = ends ? -0.0F : sums[row];
          }
        }
        ahead[i].ask(groups, panel, round + i + kGroupsAhead);
      }
    }
    // TAIL
    panel = following;
    if (site < call.sites) groups.load(linears[site]);
#pragma unroll
    for (unsigned i = 0; i < kGroupsAhead; ++i) ahead[i].ask(groups, panel, i);
    // A shuffle that changes nothing: otherwise the compiler keeps the addresses of all rows in registers since the loads.
    T* const to = own_y + __shfl_sync(kAllLanes, column, static_cast<int>(lane));
    if (!writes) continue;
#pragma unroll
    for (unsigned row = 0; row < kOwn; ++row) {
      const StoredPair<T> pair = before[row].pair();
      const StoredPair<T> sum = {{from_float<T>(first_of(pair) + first_sums[row]), from_float<T>(second_of(pair) + sums[row])}};
      if (own_row + row < rows) *reinterpret_cast<StoredPair<T>*>(to + row * call.out_stride) = sum;
    }
  }
}

/// Of a block: a lane's half of them takes a load of 16 bytes.
template <class T>
constexpr unsigned kMostRows = 2 * kVectorBytes / sizeof(T);

/// As many rows a block as have their inputs in shared memory: all of them read the same entries.
template <class T, unsigned kRows>
void launch_for_rows(Stream stream, const Sparse<T>& call) {
  const unsigned shared_bytes = places(call.in) * kRows * sizeof(T);
  if constexpr (kRows > 4) {
    if (shared_bytes > kSharedBytes) return launch_for_rows<T, kRows / 2>(stream, call);
  }
#if defined(__CUDACC__)
  if (shared_bytes > kUnasked) {  // a refusal is the launch's error, too
    cudaFuncSetAttribute(sparse_kernel<T, kRows>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  }
#endif
  const unsigned panels = call.sites * static_cast<unsigned>(sparse_panel_count(call.out)), parts = kTileRows / kRows;
  const auto quotient = [](unsigned a, unsigned b) { return (a + b - 1) / b; };
  const unsigned most_groups = quotient(panels, kLeastWarps), wanted = quotient(kBusy, call.tiles.most * parts);
  const unsigned groups = wanted < most_groups ? wanted : most_groups;
  // Warps that all have as many panels, but for the last.
  const unsigned rounds = quotient(panels, groups * kMostWarps), warps = quotient(panels, groups * rounds);
  launch(stream, sparse_kernel<T, kRows>, dim3(call.tiles.most, groups, parts), dim3(warps * kWarpSize), shared_bytes, call);
}

}  // namespace

template <class T>
void sparse(Stream stream, const Sparse<T>& call) {
  if (call.tiles.most == 0) return;
  launch_for_rows<T, kMostRows<T>>(stream, call);
}

template void sparse(Stream, const Sparse<float>&);
template void sparse(Stream, const Sparse<Half>&);
template void sparse(Stream, const Sparse<BFloat16>&);

}  // namespace pets::kernels::cuda
