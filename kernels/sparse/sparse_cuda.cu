#include "kernels/sparse/sparse_cuda.h"

#include <cstring>

#include "kernels/cuda/warp_operand.h"
#include "kernels/sparse/sparse_entries_cuda.h"

// A block has the inputs of a tile in shared memory, and its warps take panels of 32 columns (sparse_groups.h). Two lanes share a run of
// groups, half of the rows each: of an entry a lane reads 16 bytes of shared memory, converts eight halves and multiplies them by the
// value. Where a column ends its sums go to shared memory, from where they are added to y by rows, 16 bytes at once.
//
// Its first shape took twice as long as its instructions: warps waited for entries, which come from DRAM, and for one input after the
// other. So the entries of a warp's panels stream through a ring in shared memory (cp.async, no registers), asked for before anything that
// depends on earlier launches, and a round's inputs are on their way together. What is left, of BERT-base's 768 x 768 with 1 % of the
// entries and 16 rows a multiprocessor (sm_90): 123 rounds of about 110 instructions, 64 of them conversions and products, and 24 panels of
// 200, which are 4,600 cycles of four schedulers; shared memory is busy as long. A warp's way to the barrier is another 500 instructions.
namespace pets::kernels::cuda {
namespace {

constexpr unsigned kVectorBytes = 16;  // the widest access
constexpr unsigned kMostWarps = 24;    // of a block, and of a multiprocessor: 80 registers a thread
constexpr unsigned kLeastPanels = 8;   // of a block, where there are so many: each stages the inputs anew
constexpr unsigned kTileRows = 16;     // at most
/// Of one input, what a lane reads.
template <class T, unsigned kRows>
struct alignas(kRows * sizeof(T) < kVectorBytes ? kRows * sizeof(T) : kVectorBytes) Rows {
  StoredPair<T> pairs[kRows / 2];
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

/// Of each half of a tile's rows. Sixteen bytes each, those of both halves are in different banks.
__host__ __device__ constexpr unsigned places(unsigned in) { return in + kSparseBanks; }

/// The inputs of the block's rows on their way to shared memory, in words. A thread has the same eight inputs (four of float) of as many
/// rows as fill a word.
template <class T, unsigned kRows>
struct Staging {
  static constexpr unsigned kOwnRows = sizeof(uint32_t) / sizeof(T), kRowGroups = kRows / kOwnRows, kValues = kVectorBytes / sizeof(T);
  static constexpr unsigned kAtOnce = 4;       // vectors of a row: what a thread of eight warps has of 768 inputs, or one of 24 of 3,072
  static constexpr unsigned kOwn = kRows / 2;  // rows of a lane that computes
  uint4 loaded[kAtOnce][kOwnRows];

  __device__ __forceinline__ static unsigned first_row() { return threadIdx.x % kRowGroups * kOwnRows; }
  __device__ __forceinline__ static unsigned step() { return blockDim.x / kRowGroups; }

  /// Rows that the tile does not have, which may be another task's or lie beyond the array, are not read: zeros stand for them.
  __device__ __forceinline__ void load(const T* x, unsigned in, unsigned rows, unsigned first) {
    const T* const own = x + opaque(uint64_t{first_row()} * in + first * kValues);
    const T* const other = own + in;
#pragma unroll
    for (unsigned n = 0; n < kAtOnce; ++n) {
      const bool there = (first + n * step()) * kValues < in;
#pragma unroll
      for (unsigned i = 0; i < kOwnRows; ++i) {
        loaded[n][i] = {0, 0, 0, 0};
        const T* const from = (i == 0 ? own : other) + n * step() * kValues;
        if (first_row() + i < rows && there) loaded[n][i] = *reinterpret_cast<const uint4*>(from);
      }
    }
  }
  __device__ __forceinline__ void store(T* inputs, unsigned in, unsigned first) const {
    auto* const own = reinterpret_cast<uint32_t*>(inputs + (first_row() / kOwn * places(in) * kOwn + first_row() % kOwn));
    constexpr unsigned kPlaceWords = kOwn * sizeof(T) / sizeof(uint32_t);
#pragma unroll
    for (unsigned n = 0; n < kAtOnce; ++n) {
      const unsigned at = (first + n * step()) * kValues;
      if (at >= in) break;
      // sparse_place of the vector's values, that differ from the first one in their lowest bits.
      uint32_t* to[kSparseBanks];
#pragma unroll
      for (unsigned k = 0; k < kSparseBanks; ++k) to[k] = own + (at + (k ^ at / 8 % kSparseBanks)) * kPlaceWords;
      const uint4 a = loaded[n][0], b = loaded[n][kOwnRows - 1];
      const uint32_t words[2][kVectorBytes / sizeof(uint32_t)] = {{a.x, a.y, a.z, a.w}, {b.x, b.y, b.z, b.w}};
#pragma unroll
      for (unsigned k = 0; k < kValues; ++k) {
        uint32_t word = words[0][k / kOwnRows];
        if constexpr (kOwnRows == 2) {
          const uint32_t other = words[1][k / kOwnRows];
          word = k % 2 == 0 ? (word & 0xFFFF) | other << 16 : word >> 16 | (other & 0xFFFF0000);
        }
        to[k % kSparseBanks][k / kSparseBanks * kSparseBanks * kPlaceWords] = word;
      }
    }
  }
};

/// A lane's sums of a column. In shared memory those of a column's rows lie together, of eight columns a column's room apart, so that lanes
/// that read two times eight columns are not in the same banks.
template <unsigned kOwn>
struct alignas(kOwn * sizeof(float) < kVectorBytes ? kOwn * sizeof(float) : kVectorBytes) Sums {
  float rows[kOwn];

  /// -0 changes no bit of what it is added to.
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (unsigned row = 0; row < kOwn; ++row) rows[row] = -0.0F;
  }
};
constexpr unsigned kSumColumns = kSparsePanelColumns + kSparsePanelColumns / 8;
__device__ __forceinline__ unsigned sum_column(unsigned column) { return column + column / 8; }

template <class T, unsigned kOwn>
__device__ __forceinline__ void add_group(const Rows<T, kOwn> (&inputs)[kSparseGroupEntries], const GroupValues& values, Sums<kOwn>& sums) {
#pragma unroll
  for (unsigned e = 0; e < kSparseGroupEntries; ++e) {
    const float value = values.of[e];
#pragma unroll
    for (unsigned i = 0; i < kOwn / 2; ++i) {
      sums.rows[2 * i] = fmaf(first_of(inputs[e].pairs[i]), value, sums.rows[2 * i]);
      sums.rows[2 * i + 1] = fmaf(second_of(inputs[e].pairs[i]), value, sums.rows[2 * i + 1]);
    }
  }
}

/// A panel's part of y on its way: of every row vectors of 16 bytes, that neighbouring rows' lanes have.
template <class T, unsigned kRows>
struct Output {
  static constexpr unsigned kValues = kVectorBytes / sizeof(T), kAll = kRows * kSparsePanelColumns / kValues;
  static constexpr unsigned kOwn = (kAll + kWarpSize - 1) / kWarpSize;
  static constexpr unsigned kNext = kWarpSize / kRows * kValues;  // columns from a lane's vector to its next
  static_assert(kOwn == 1 || kNext % 8 == 0);
  uint4 before[kOwn];

  __device__ __forceinline__ static unsigned row() { return threadIdx.x % kRows; }
  __device__ __forceinline__ static unsigned column() { return threadIdx.x % kWarpSize / kRows * kValues; }

  /// y: the lane's first value in the panel, of which `columns` are there; 0: none of the row.
  __device__ __forceinline__ void load(const T* y, unsigned columns) {
#pragma unroll
    for (unsigned i = 0; i < kOwn; ++i) {
      before[i] = {0, 0, 0, 0};
      if (column() + i * kNext < columns) before[i] = *reinterpret_cast<const uint4*>(y + i * kNext);
    }
  }
  /// `sums`: of the lane's row and first column.
  __device__ __forceinline__ void store(T* y, unsigned columns, const float* sums) const {
#pragma unroll
    for (unsigned i = 0; i < kOwn; ++i) {
      if (column() + i * kNext >= columns) break;
      const uint4 after = {sum<0>(i, sums), sum<1>(i, sums), sum<2>(i, sums), sum<3>(i, sums)};
      auto* const to = reinterpret_cast<uint4*>(y + i * kNext);
#if defined(__CUDACC__)
      __stwb(to, after);  // of an assignment the compiler makes four stores
#else
      *to = after;
#endif
    }
  }

 private:
  template <unsigned kWord>
  __device__ __forceinline__ uint32_t sum(unsigned i, const float* sums) const {
    constexpr unsigned kOfWord = sizeof(uint32_t) / sizeof(T);
    const uint32_t word = kWord == 0 ? before[i].x : kWord == 1 ? before[i].y : kWord == 2 ? before[i].z : before[i].w;
    T values[kOfWord];
    std::memcpy(static_cast<void*>(values), &word, sizeof word);
#pragma unroll
    for (unsigned k = 0; k < kOfWord; ++k) {
      values[k] = from_float<T>(to_float(values[k]) + sums[(sum_column(i * kNext) + kWord * kOfWord + k) * kRows]);
    }
    uint32_t result = 0;
    std::memcpy(&result, static_cast<const void*>(values), sizeof result);
    return result;
  }
};

/// How a tile's panels are shared out, by the number of tiles that is found on the device. An output's sum is the same in every part.
struct Split {
  static constexpr unsigned kWays = 8;
  uint32_t panels, all_panels;  // of a site, of all sites
  uint32_t most;                // parts of a tile
  uint32_t up_to[kWays];        // tiles, fewer from way to way
  uint32_t part[kWays];         // panels of a block then: of several a warp, as many of each

#if defined(__CUDACC__)
  __device__
#endif
      unsigned
      part_of(unsigned tiles) const {
    unsigned own = part[0];
#pragma unroll
    for (unsigned way = 1; way < kWays; ++way) own = tiles <= up_to[way] ? part[way] : own;
    return own;
  }
};

/// Of a warp.
template <unsigned kRows>
constexpr unsigned kSumBytes = kSumColumns* kRows * sizeof(float);
template <unsigned kRows>
constexpr unsigned kWarpBytes = kSumBytes<kRows> + kRoundSlots * sizeof(Round) + kWarpPanels * sizeof(WarpPanel);

template <class T, unsigned kRows>
__global__ void __launch_bounds__(kMostWarps* kWarpSize) sparse_kernel(Sparse<T> call, Split split) {
  // Before the wait for earlier launches only tables and entries are read, which no launch writes.
  constexpr unsigned kOwn = kRows / 2, kTileParts = kTileRows / kRows;
  const unsigned lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize, warps = blockDim.x / kWarpSize;
  const unsigned row_parts = (call.tiles.count != nullptr ? *call.tiles.count : call.tiles.most) * kTileParts;
  if (blockIdx.x >= row_parts * split.most) return follow_earlier_launches();
  const unsigned own_panels = split.part_of(row_parts), first_panel = blockIdx.x / row_parts * own_panels;
  const unsigned row_part = blockIdx.x % row_parts, skipped = row_part % kTileParts * kRows;
  if (first_panel >= split.all_panels) return follow_earlier_launches();
  const RowTile tile = call.tiles.tiles[row_part / kTileParts];
  if (kTileParts > 1 && skipped >= tile.rows) return follow_earlier_launches();
  const unsigned left_panels = split.all_panels - first_panel,
                 end_panel = first_panel + (own_panels < left_panels ? own_panels : left_panels);
  const TaskLinear* const linears = &call.linears[tile.slot];
  const bool any = lane < call.sites && linears[lane].sparse_panels != nullptr;
  if (__ballot_sync(kAllLanes, any) == 0) return follow_earlier_launches();

  T* const inputs = shared_memory<T>();
  std::byte* const own_shared = reinterpret_cast<std::byte*>(inputs + places(call.in) * kRows) + warp * kWarpBytes<kRows>;
  auto* const panels_of_warp = reinterpret_cast<WarpPanel*>(own_shared + kSumBytes<kRows> + kRoundSlots * sizeof(Round));
  auto* const sums_of_warp = reinterpret_cast<float*>(own_shared);
  const SharedAddress slots = opaque<SharedAddress>(shared_address(own_shared + kSumBytes<kRows>)),
                      slots_end = opaque<SharedAddress>(slots + kRoundSlots * sizeof(Round));
  Entries entries;
  entries.find(linears, split.panels, call.out, first_panel + warp, warps, end_panel, panels_of_warp);
  AsyncCopies copies;
#pragma unroll 1
  for (unsigned i = 0; i < kRoundSlots; ++i) entries.copy(copies, slots + i * sizeof(Round));

  follow_earlier_launches();
  const unsigned rows = tile.rows - skipped, in = call.in;
  const size_t first_row = tile.first_row + skipped;
  const T* const x = call.x + first_row * in;
  Staging<T, kRows> staging;
  const unsigned first_vector = threadIdx.x / staging.kRowGroups;
  staging.load(x, in, rows, first_vector);

  for (unsigned first = first_vector;;) {
    staging.store(inputs, in, first);
    first += staging.kAtOnce * staging.step();
    if (first * staging.kValues >= in) break;
    staging.load(x, in, rows, first);
  }
  for (unsigned i = threadIdx.x; i < kSparseBanks * kRows; i += blockDim.x) {
    inputs[(i / (kSparseBanks * kOwn) * places(in) + in) * kOwn + i % (kSparseBanks * kOwn)] = from_float<T>(0);
  }

  // What of y belongs to the next panel is on its way before the panel is begun.
  const WarpPanel* panel = panels_of_warp;
  const unsigned own_row = Output<T, kRows>::row(), own_column = Output<T, kRows>::column();
  T* const own_y = call.y + (first_row + own_row) * call.out_stride + own_column;
  const float* const own_results = sums_of_warp + sum_column(own_column) * kRows + own_row;
  const auto own_columns = [&](const WarpPanel& of) -> unsigned { return own_row < rows ? of.columns() : 0; };
  Output<T, kRows> output{};
  if (panel != entries.end()) output.load(own_y + panel->first_column(), own_columns(*panel));
  copies.wait<kRoundSlots - 1>();
  __syncthreads();
  if (panel == entries.end()) return;

  const auto own_sums = [&](unsigned of_column) {
    return reinterpret_cast<Sums<kOwn>*>(sums_of_warp + sum_column(of_column) * kRows + lane % 2 * kOwn);
  };
  constexpr unsigned kInputBytes = sizeof(Rows<T, kOwn>);
  const SharedAddress own_inputs = opaque<SharedAddress>(shared_address(inputs) + lane % 2 * places(in) * kInputBytes);
  const auto run_bytes = opaque(static_cast<unsigned>(lane / 2 * sizeof(GroupPlaces)));
  static_assert(sizeof(GroupValues) == 2 * sizeof(GroupPlaces));
  const auto own_places = [&](SharedAddress slot) { return load_shared<GroupPlaces>(slot + run_bytes); };
  SharedAddress slot = slots;
  GroupPlaces now = own_places(slot);
  for (;;) {
    Sums<kOwn> sums;
    sums.clear();
#pragma unroll
    for (unsigned i = 0; i < kSparsePanelColumns; i += kSparseRuns) *own_sums(lane / 2 + i) = sums;
    __syncwarp();
    unsigned last_column = 0;
    bool ended = false;  // has a column's end
#pragma unroll 1
    for (unsigned left = panel->rounds; left != 0; --left) {
      Rows<T, kOwn> input[kSparseGroupEntries];
#pragma unroll
      for (unsigned e = 0; e < kSparseGroupEntries; ++e) input[e] = load_shared<Rows<T, kOwn>>(own_inputs + now.of(e) * kInputBytes);
      const auto values = load_shared<GroupValues>(slot + sizeof(Round::places) + 2 * run_bytes);
      copies.wait<kRoundSlots - 2>();
      // The next round is there for all, and all are done with this one's slot. The loads above stay above: left to the compiler, each
      // would go to the first use of its value, and a lane would wait for one after the other.
      __syncwarp();
      last_column = now.column();
      const bool last = now.last();
      entries.copy(copies, slot);
      slot += sizeof(Round);
      if (slot == slots_end) slot = slots;
      now = own_places(slot);
      add_group(input, values, sums);
      if (last) {
        *own_sums(last_column) = sums;
        sums.clear();
        ended = true;
      }
    }
    __syncwarp();
    // What of a column lies in earlier runs than its end: of those of one column, a run after the other.
    for (unsigned left = __ballot_sync(kAllLanes, panel->continued >> lane / 2 & 1); left != 0;) {
      const bool follows = lane >= 2 && (left >> (lane - 2) & 1) != 0 && !ended, ready = (left >> lane & 1) != 0 && !follows;
      if (ready) {
        Sums<kOwn> all = *own_sums(last_column);
#pragma unroll
        for (unsigned row = 0; row < kOwn; ++row) all.rows[row] += sums.rows[row];
        *own_sums(last_column) = all;
      }
      left &= ~__ballot_sync(kAllLanes, ready);
      __syncwarp();
    }
    output.store(own_y + panel->first_column(), own_columns(*panel), own_results);
    if (++panel == entries.end()) return;
    output.load(own_y + panel->first_column(), own_columns(*panel));
    __syncwarp();
  }
}

/// Of a block: a lane's half of them takes a load of 16 bytes.
template <class T>
constexpr unsigned kMostRows = 2 * kVectorBytes / sizeof(T);
template <class T>
constexpr unsigned kLeastRows = kMostRows<T> / 2;  // 4,096 inputs leave room for so many everywhere

/// What decides how the work is shared out.
struct Device {
  unsigned multiprocessors = 16, shared_bytes = 100 * 1024, block_bytes = 99 * 1024;  // the least that there is
};
inline Device device() {
  Device found;
#if defined(__CUDACC__)
  int id = 0;
  if (cudaGetDevice(&id) != cudaSuccess) return found;
  const auto read = [id](unsigned& value, cudaDeviceAttr attribute) {
    int known = 0;
    if (cudaDeviceGetAttribute(&known, attribute, id) == cudaSuccess) value = static_cast<unsigned>(known);
  };
  read(found.multiprocessors, cudaDevAttrMultiProcessorCount);
  read(found.shared_bytes, cudaDevAttrMaxSharedMemoryPerMultiprocessor);
  read(found.block_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin);
#endif
  return found;
}

/// As many rows a block as have room in shared memory: all of them read the same entries. Blocks are as small as they can be with as many
/// warps on a multiprocessor as there can be: one stages its inputs while others compute.
template <class T, unsigned kRows>
void launch_for_rows(Stream stream, const Sparse<T>& call, const Device& device) {
  constexpr unsigned kReserved = 1024;  // of every block, for CUDA itself
  unsigned warps = kLeastPanels, resident = 0;
  const auto bytes = [&](unsigned of_warps) {
    return static_cast<unsigned>(kRows * places(call.in) * sizeof(T) + of_warps * kWarpBytes<kRows>);
  };
  for (const unsigned candidate : {8U, 12U, 16U, kMostWarps}) {
    const unsigned fit = device.shared_bytes / (bytes(candidate) + kReserved), allowed = kMostWarps / candidate;
    const unsigned blocks = bytes(candidate) > device.block_bytes ? 0 : fit < allowed ? fit : allowed;
    if (blocks * candidate <= resident * warps) continue;
    warps = candidate;
    resident = blocks;
  }
  if constexpr (kRows > kLeastRows<T>) {
    if (resident == 0) return launch_for_rows<T, kRows / 2>(stream, call, device);
  }
  const auto quotient = [](unsigned a, unsigned b) { return (a + b - 1) / b; };
  Split split{};
  split.panels = static_cast<unsigned>(sparse_panel_count(call.out));
  split.all_panels = call.sites * split.panels;
  // With as many parts as make the tiles' blocks about those that are on the device at once.
  const unsigned blocks = device.multiprocessors * resident, least = quotient(split.all_panels, warps * kWarpPanels);
  split.most = quotient(split.all_panels, kLeastPanels);
  unsigned parts = least;
  for (unsigned way = 0; way < Split::kWays; ++way) {
    const unsigned own = quotient(split.all_panels, parts);
    split.part[way] = own <= warps ? own : quotient(own, warps) * warps;
    split.up_to[way] = 2 * blocks / (2 * parts - 1);
    const unsigned next = parts + (parts + 3) / 4;
    parts = way + 2 == Split::kWays || next > split.most ? split.most : next;
  }
  // As many blocks as any number of tiles has; those without work come last.
  const unsigned most = call.tiles.most * (kTileRows / kRows), spread = blocks + most / 2;
  const unsigned finest = most * split.most < spread ? most * split.most : spread;
  const unsigned grid = most * least > finest ? most * least : finest;
  allow_shared_memory(sparse_kernel<T, kRows>, bytes(warps));
  launch(stream, sparse_kernel<T, kRows>, dim3(grid), dim3(warps * kWarpSize), bytes(warps), call, split);
}

}  // namespace

template <class T>
void sparse(Stream stream, const Sparse<T>& call) {
  if (call.tiles.most == 0) return;
  launch_for_rows<T, kMostRows<T>>(stream, call, device());
}

template void sparse(Stream, const Sparse<float>&);
template void sparse(Stream, const Sparse<Half>&);
template void sparse(Stream, const Sparse<BFloat16>&);

}  // namespace pets::kernels::cuda
