#include "kernels/sparse/sparse_cuda.h"

#include <cstring>

#include "kernels/cuda/row_tile.h"
#include "kernels/cuda/warp_operand.h"

// A block has the inputs of a tile in shared memory, and its warps take panels of 32 columns (sparse_groups.h). Two lanes share a run of
// groups, half of the rows each: of an entry a lane reads 16 bytes of shared memory, converts eight halves and multiplies them by the
// value. Where a column ends its sums go to shared memory, from where they are added to y by rows, 16 bytes at once.
//
// What bounds it, of BERT-base's 768 x 768 with 1 % of the entries and a tile of 16 rows a multiprocessor (sm_90): 5,900 entries are 123
// rounds of a warp, where 16 columns side by side, each as long as the longest, took 159 and 5,900 / 64 would be 92. A round is about 110
// instructions, 64 of them conversions and products; a panel's begin and end are 270, a warp's way to the barrier 280: 27,000 instructions,
// 6,700 cycles of four schedulers. Shared memory is busy for 3,100 cycles with inputs (1,460 if lanes never met in a bank, 3,900 in stored
// order) and 1,500 with sums. From L2 come 25 KiB of inputs, 48 KiB of y both ways and 48 KiB of entries. So instructions bound it, and one
// block a tile does all sites and columns: 3,072 of them in four blocks would take 4 x 280 x 24 instructions more and the inputs four
// times.
namespace pets::kernels::cuda {
namespace {

constexpr unsigned kMostWarps = 24;   // 80 registers a thread; a panel each of BERT-base's 768 columns
constexpr unsigned kLeastWarps = 8;   // of blocks that share a tile's columns: each stages the inputs anew
constexpr unsigned kTileRows = 16;    // at most
constexpr unsigned kGroupsAhead = 2;  // of a run, on their way: a round of six warps a scheduler takes as long as memory does
// Of a block, at most: 16 rows of 3,072 inputs need 150 KiB, which Orin, Thor and the data centre's GPUs give to who asks. Others refuse
// and have half as many rows a block. float asks for what all have.
template <class T>
constexpr unsigned kSharedBytes = (sizeof(T) == sizeof(float) ? 99 : 160) * 1024;
constexpr unsigned kUnasked = 48 * 1024;  // what every launch may have

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

/// In words: taken apart only when they are used, so that until then nobody waits for them.
struct alignas(kSparseGroupEntries * sizeof(uint16_t)) GroupPlaces {
  uint32_t pairs[kSparseGroupEntries / 2];
  __device__ __forceinline__ unsigned of(unsigned i) const { return i % 2 == 0 ? pairs[i / 2] & kSparsePlaceMask : pairs[i / 2] >> 16; }
  __device__ __forceinline__ unsigned column() const {
    return (pairs[0] >> kSparsePlaceBits & 7) | (pairs[1] >> (kSparsePlaceBits - 3) & 0x18);
  }
  __device__ __forceinline__ bool last() const { return (pairs[1] & kSparseLastBit) != 0; }
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

/// All groups of a site.
struct Groups {
  const GroupPlaces* places = nullptr;
  const GroupValues* values = nullptr;

  __device__ __forceinline__ void load(const TaskLinear& linear) {
    places = reinterpret_cast<const GroupPlaces*>(linear.sparse_places);
    values = reinterpret_cast<const GroupValues*>(linear.sparse_values);
  }
};

/// A group on its way.
struct Group {
  GroupPlaces places;
  GroupValues values;

  __device__ __forceinline__ void ask(const Groups& groups, const SparsePanel& panel, unsigned round) {
    if (round >= panel.rounds) return;
    const unsigned at = panel.first_group + round * kSparseRuns + threadIdx.x % kWarpSize / 2;
    places = groups.places[at];
    values = groups.values[at];
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

/// `inputs`: of the lane's rows.
template <class T, unsigned kOwn>
__device__ __forceinline__ void add_group(const Group& group, const Rows<T, kOwn>* inputs, Sums<kOwn>& sums) {
  Rows<T, kOwn> input[kSparseGroupEntries];
#pragma unroll
  for (unsigned e = 0; e < kSparseGroupEntries; ++e) input[e] = inputs[group.places.of(e)];
#pragma unroll
  for (unsigned e = 0; e < kSparseGroupEntries; ++e) {
    const float value = group.values.of[e];
#pragma unroll
    for (unsigned i = 0; i < kOwn / 2; ++i) {
      sums.rows[2 * i] = fmaf(first_of(input[e].pairs[i]), value, sums.rows[2 * i]);
      sums.rows[2 * i + 1] = fmaf(second_of(input[e].pairs[i]), value, sums.rows[2 * i + 1]);
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

template <class T, unsigned kRows>
__global__ void __launch_bounds__(kMostWarps* kWarpSize) sparse_kernel(Sparse<T> call) {
  follow_earlier_launches();
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
#pragma unroll 1
  for (unsigned site = 0; site < call.sites; ++site) any = any || linears[site].sparse_panels != nullptr;
  if (!any) return;

  // The warp's panels, those of all sites in a row.
  constexpr unsigned kOwn = kRows / 2;
  const unsigned lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize, warps = blockDim.x / kWarpSize;
  const auto* const own_inputs = shared_memory<Rows<T, kOwn>>() + lane % 2 * places(in);
  float* const sums_of_warp = reinterpret_cast<float*>(inputs + places(in) * kRows) + warp * kSumColumns * kRows;
  const unsigned own_row = Output<T, kRows>::row(), own_column = Output<T, kRows>::column();
  const bool own_row_is_there = own_row < rows;
  T* const own_y = call.y + (first_row + own_row) * call.out_stride + own_column;
  const float* const own_results = sums_of_warp + sum_column(own_column) * kRows + own_row;
  const unsigned panels = (call.out + kSparsePanelColumns - 1) / kSparsePanelColumns;
  unsigned site = 0, index = blockIdx.y * warps + warp;
  const auto load_panel = [&]() -> SparsePanel {
    for (; index >= panels && site < call.sites; index -= panels) ++site;
    if (site >= call.sites || linears[site].sparse_panels == nullptr) return {};
    return linears[site].sparse_panels[index];
  };
  SparsePanel panel = load_panel();
  Groups groups;
  if (site < call.sites) groups.load(linears[site]);
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
    const unsigned column = index * kSparsePanelColumns, columns = own_row_is_there && panel.rounds != 0 ? call.out - column : 0;
    T* const y = own_y + (site * call.out + column);
    Output<T, kRows> output;
    output.load(y, columns);
    index += warps * gridDim.y;
    const SparsePanel following = load_panel();

    const auto own_sums = [&](unsigned of_column) {
      return reinterpret_cast<Sums<kOwn>*>(sums_of_warp + sum_column(of_column) * kRows + lane % 2 * kOwn);
    };
    Sums<kOwn> sums;
    sums.clear();
#pragma unroll
    for (unsigned i = 0; i < kSparsePanelColumns; i += kSparseRuns) *own_sums(lane / 2 + i) = sums;
    __syncwarp();
    unsigned last_column = 0;
    bool ended = false;  // has a column's end
    for (unsigned round = 0; round < panel.rounds; round += kGroupsAhead) {
#pragma unroll
      for (unsigned i = 0; i < kGroupsAhead; ++i) {
        if (round + i >= panel.rounds) break;
        add_group(ahead[i], own_inputs, sums);
        const bool last = ahead[i].places.last();
        if (last || round + i + 1 == panel.rounds) last_column = ahead[i].places.column();
        if (last) {
          *own_sums(last_column) = sums;
          sums.clear();
          ended = true;
        }
        ahead[i].ask(groups, panel, round + i + kGroupsAhead);
      }
    }
    __syncwarp();
    // What of a column lies in earlier runs than its end: of those of one column, a run after the other.
    for (unsigned left = __ballot_sync(kAllLanes, panel.continued >> lane / 2 & 1); left != 0;) {
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

    if (site < call.sites) groups.load(linears[site]);
#pragma unroll
    for (unsigned i = 0; i < kGroupsAhead; ++i) ahead[i].ask(groups, following, i);
    output.store(y, columns, own_results);
    __syncwarp();
    panel = following;
  }
}

/// Of a block: a lane's half of them takes a load of 16 bytes.
template <class T>
constexpr unsigned kMostRows = 2 * kVectorBytes / sizeof(T);
template <class T>
constexpr unsigned kLeastRows = kMostRows<T> / 2;  // 4,096 inputs leave room for so many everywhere

/// With fewer blocks than these, a tile's columns are shared out.
inline unsigned multiprocessors() {
  int count = 128;
#if defined(__CUDACC__)
  int device = 0;
  if (cudaGetDevice(&device) == cudaSuccess) (void)cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
#endif
  return static_cast<unsigned>(count);
}

/// As many rows a block as have room in shared memory: all of them read the same entries.
template <class T, unsigned kRows>
void launch_for_rows(Stream stream, const Sparse<T>& call) {
  const unsigned panels = call.sites * static_cast<unsigned>(sparse_panel_count(call.out)), parts = kTileRows / kRows;
  const auto quotient = [](unsigned a, unsigned b) { return (a + b - 1) / b; };
  const unsigned most_groups = quotient(panels, kLeastWarps), spare = multiprocessors() / (call.tiles.most * parts);
  const unsigned groups = spare < 1 ? 1 : spare < most_groups ? spare : most_groups;
  // Warps that all have as many panels, but for the last.
  const unsigned rounds = quotient(panels, groups * kMostWarps), warps = quotient(panels, groups * rounds);
  const auto shared_bytes = static_cast<unsigned>(kRows * (places(call.in) * sizeof(T) + warps * kSumColumns * sizeof(float)));
  if constexpr (kRows > kLeastRows<T>) {
    if (shared_bytes > kSharedBytes<T>) return launch_for_rows<T, kRows / 2>(stream, call);
  }
#if defined(__CUDACC__)
  if (shared_bytes > kUnasked) {
    const bool failed_before = cudaPeekAtLastError() != cudaSuccess;
    const auto refused = cudaFuncSetAttribute(sparse_kernel<T, kRows>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
    if constexpr (kRows > kLeastRows<T>) {
      if (refused != cudaSuccess) {
        if (!failed_before) (void)cudaGetLastError();  // a refusal is no error of the launch
        return launch_for_rows<T, kRows / 2>(stream, call);
      }
    }
  }
#endif
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
