#include "kernels/mask/mask_cuda.h"

#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/warp_operand.h"
#include "kernels/mask/keep_values_cuda.h"

// What limits this kernel with many tiles is what its blocks read through L2, each all of its rows' inputs and all of its columns' weights,
// and next the path to shared memory; with few tiles, how long a step of the depth takes. So a multiprocessor has one large block. With
// many tiles that is two of them, whose tasks mask the same weights differently, and 96 columns; with few, one tile and 48 columns. A
// block's warps share the rows, the columns, and the two steps that are copied at a time, so that there are enough of them to multiply, to
// mask and to copy at once; two warps of different steps add up their sums at the end. Weights are masked in registers, once for all rows
// of a warp. Planes alone come from memory, since no launch has read them before: a block asks for all of its own as soon as it can.
namespace pets::kernels::cuda {
namespace {

constexpr unsigned kSteps = 2;  // of kDepth between two barriers: 128 bytes of a row of halves, what memory moves at once
constexpr unsigned kParts = 2;  // of a block's rows
/// Of one part and step. With 96 columns, 768 or 3,072 of them and 32 tiles are about equal shares for 132 multiprocessors.
constexpr unsigned kColumnWarps = 3;
constexpr unsigned kGroupThreads = kColumnWarps * kWarpSize;
constexpr unsigned kPartThreads = kSteps * kGroupThreads;
constexpr unsigned kThreads = kParts * kPartThreads;
constexpr unsigned kStripsAtOnce = 2;   // of 16 rows, whose operands a warp loads together; it leaves out pairs that have no rows
constexpr unsigned kOutputPadding = 8;  // values: rows that lanes store together begin in different banks
/// A multiprocessor: most launches have a block for each item, and few have many for which there is none.
constexpr unsigned kBlocksAtMost = 4;
/// Of shared memory; all devices have 99 KiB a block.
constexpr size_t kBytes = size_t{89} << 10;

/// How a block works on an item: a wide one is two tiles, one a part, and two panels of 16 columns a warp (64 registers of sums), a narrow
/// one halves of one tile and one panel a warp.
template <bool kWide>
struct Shape {
  static constexpr unsigned kPanels = kWide ? 2 : 1;  // of a warp
  static constexpr unsigned kBlockPanels = kColumnWarps * kPanels, kColumns = kBlockPanels * kTile;
  static constexpr unsigned kTiles = kWide ? kParts : 1;
  static constexpr unsigned kPartRows = kMaskTileRows * kTiles / kParts, kStrips = kPartRows / kTile;
  static constexpr unsigned kSums = kStrips * kPanels * WarpSums::kOwn;
};
/// Wide parts of the depth in float are too large for two of them to be in shared memory.
template <class T>
constexpr bool kEverWide = sizeof(T) < sizeof(float);

/// kSteps of the depth of a block's operands. Rows of a step lie one after another without padding: of halves, two rows are all banks, and
/// the eight lanes that read together read two rows of four.
template <class T, bool kWide>
struct Stage {
  using Own = Shape<kWide>;
  T x[kParts][kSteps][Own::kPartRows * kDepth];
  T weight[kSteps][Own::kColumns * kDepth];
  uint32_t planes[kParts][kSteps][Own::kBlockPanels][kTile];  // words of 32 bits are as deep as operands are
};
static_assert(kDepth == 32);

/// After the last stage: the sums that warps hand each other, and the rounded ones in rows.
template <class T, bool kWide>
struct Results {
  using Own = Shape<kWide>;
  float sums[Own::kSums / kSteps][kThreads];
  T rows[kParts][Own::kPartRows][Own::kColumns + kOutputPadding];
};

/// Parts of the depth in shared memory, one of them being multiplied.
template <class T, bool kWide>
constexpr unsigned kStages = kBytes / sizeof(Stage<T, kWide>);
static_assert(kStages<Half, true> == 3 && kStages<Half, false> == 6 && kStages<float, false> == 3);
static_assert(sizeof(Results<Half, true>) <= kBytes && sizeof(Results<float, false>) <= kBytes);

/// A thread's part of copying kRows rows to the stages, kSteps of the depth at a time, from the first on, by kCopying threads. Values
/// beyond the depth are not read: zeros stand for them. Rows beyond `valid_rows` are left as they are in shared memory, since what is made
/// of them is not stored.
template <class T, unsigned kRows, unsigned kCopying>
class RowCopies {
 public:
  /// to: the first stage's [kSteps][kRows * kDepth]. from: the first row's first value. thread: of those that copy.
  __device__ __forceinline__ RowCopies(T* to, const T* from, unsigned depth, unsigned valid_rows, unsigned thread) {
    // Lanes that write together write one step of one row and the other step of its neighbour: different banks.
    const unsigned step = thread / kStepCopies % kSteps, first = thread / (2 * kRowCopies) * 2 + (thread / kRowCopies + step) % 2;
    const unsigned at = thread % kStepCopies * kValues;
    from_ = reinterpret_cast<const std::byte*>(opaque(from + first * depth + step * kDepth + at));
    rows_bytes_ = static_cast<uint64_t>(kRowsAtOnce * depth) * sizeof(T);
    to_ = opaque(shared_address(to + step * kRows * kDepth + first * kDepth + at));
    left_ = static_cast<int>(depth) - static_cast<int>(step * kDepth + at);
    const unsigned rows = valid_rows < kRows ? valid_rows : kRows;
    rows_ = opaque(first < rows ? rows - first : 0);
  }

  /// stage: offset in bytes.
  __device__ __forceinline__ void copy_next(AsyncCopies& copies, unsigned stage) {
    const std::byte* from = from_;
#pragma unroll
    for (unsigned i = 0; i < kRows; i += kRowsAtOnce) {
      if (i < rows_) copies.copy(to_ + stage + i * kDepth * sizeof(T), from, left_ > 0);
      from += rows_bytes_;
    }
    from_ += kSteps * kDepth * sizeof(T);
    left_ -= kSteps * kDepth;
  }

 private:
  static constexpr unsigned kValues = kCopyBytes / sizeof(T), kStepCopies = kDepth / kValues, kRowCopies = kSteps * kStepCopies;
  static constexpr unsigned kRowsAtOnce = kCopying / kRowCopies;
  static_assert(kSteps == 2 && kRowsAtOnce % 2 == 0 && kCopying % (2 * kRowCopies) == 0);

  const std::byte* from_;
  uint64_t rows_bytes_;  // kRowsAtOnce of them
  SharedAddress to_;
  int left_;  // of the depth
  unsigned rows_;
};

/// Likewise of the planes of kPanels panels: to [kSteps][kPanels][16].
template <unsigned kPanels, unsigned kCopying>
class PlaneCopies {
 public:
  __device__ __forceinline__ PlaneCopies(uint32_t* to, const uint32_t* from, unsigned words, unsigned valid_panels, unsigned thread) {
    const unsigned panel = thread / (kSteps * kStepCopies), step = thread / kStepCopies % kSteps, first = thread % kStepCopies * kValues;
    works_ = panel < kPanels && panel < valid_panels;
    from_ = reinterpret_cast<const std::byte*>(opaque(works_ ? from + (panel * words + step) * kTile + first : from));
    to_ = opaque(shared_address(to + (step * kPanels + panel) * kTile + first));
    left_ = static_cast<int>(words) - static_cast<int>(step);
  }

  __device__ __forceinline__ void copy_next(AsyncCopies& copies, unsigned stage) {
    if (!works_) return;
    copies.copy(to_ + stage, from_, left_ > 0);
    from_ += kSteps * kTile * sizeof(uint32_t);
    left_ -= kSteps;
  }

 private:
  static constexpr unsigned kValues = kCopyBytes / sizeof(uint32_t), kStepCopies = kTile / kValues;
  static_assert(kPanels * kSteps * kStepCopies <= kCopying);

  const std::byte* from_;
  SharedAddress to_;
  int left_;  // words
  bool works_;
};

/// A lane's bits of 16 columns, as keep_values takes them, for its two rows of an operand. planes: [16]
__device__ __forceinline__ void load_keep(unsigned (&keep)[2], const uint32_t* planes) {
  // Of a word the first value's bit is the highest, and memory has the lowest byte first.
  const auto* const bytes = reinterpret_cast<const uint8_t*>(planes + threadIdx.x % kWarpSize / 4) + 3 - threadIdx.x % 4;
#pragma unroll
  for (unsigned i = 0; i < 2; ++i) keep[i] = bytes[i * kTile / 2 * sizeof(uint32_t)];
}

/// Neighbouring rows of one task: none where there is nothing to do.
struct Part {
  const uint32_t* planes;  // of the site's first column
  unsigned first_row, rows;
};

/// All that a part of the block will copy: `panels` of them, by the part's threads.
__device__ __forceinline__ void ask_for_planes(const uint32_t* planes, unsigned panels, unsigned words) {
  constexpr unsigned kLineWords = 128 / sizeof(uint32_t);
#pragma unroll 1
  for (unsigned at = threadIdx.x % kPartThreads * kLineWords; at < panels * words * kTile; at += kPartThreads * kLineWords) {
    ask_into_l2(planes + at);
  }
}

/// Groups of columns of all sites.
template <bool kWide>
__host__ __device__ constexpr unsigned groups(unsigned out, unsigned sites) {
  return (out + Shape<kWide>::kColumns - 1) / Shape<kWide>::kColumns * sites;
}
/// One item a group of columns and so many tiles.
template <bool kWide>
__host__ __device__ constexpr unsigned items(unsigned tiles, unsigned out, unsigned sites) {
  return (tiles + Shape<kWide>::kTiles - 1) / Shape<kWide>::kTiles * groups<kWide>(out, sites);
}

/// row_group: an item's rows: the tile or the pair of tiles.
template <bool kWide, class T>
__device__ __forceinline__ Part find_part(const Mask<T>& call, unsigned tiles, unsigned row_group, unsigned site, unsigned part) {
  Part found = {nullptr, 0, 0};
  const unsigned at = kWide ? row_group * kParts + part : row_group;
  if (at >= tiles) return found;
  const RowTile tile = call.tiles.tiles[at];
  found.planes = (&call.linears[tile.slot])[site].mask;
  const unsigned skipped = kWide ? 0 : part * Shape<kWide>::kPartRows, rows = tile.rows > skipped ? tile.rows - skipped : 0;
  if (found.planes == nullptr || rows == 0) return found;
  found.first_row = tile.first_row + skipped;
  found.rows = rows < Shape<kWide>::kPartRows ? rows : Shape<kWide>::kPartRows;
  return found;
}

/// One item by all threads of the block: of the tiles of a row group, and a group of columns of all sites. Shared memory is free for
/// another when all of them have returned.
template <bool kWide, class T>
__device__ __forceinline__ void multiply(const Mask<T>& call, unsigned tiles, unsigned row_group, unsigned site_column_group) {
  using Own = Shape<kWide>;
  using OwnStage = Stage<T, kWide>;
  constexpr unsigned kBehind = kStages<T, kWide> - 1, kPanels = Own::kPanels;
  const unsigned in = call.in, words = (in + kDepth - 1) / kDepth;
  const unsigned part = threadIdx.x / kPartThreads, group = threadIdx.x / kGroupThreads % kSteps;
  const unsigned warp = threadIdx.x / kWarpSize % kColumnWarps, part_thread = threadIdx.x % kPartThreads;
  const unsigned site_groups = groups<kWide>(call.out, 1), site = site_column_group / site_groups;
  const unsigned column = site_column_group % site_groups * Own::kColumns;
  const unsigned columns = call.out - column < Own::kColumns ? call.out - column : Own::kColumns;
  auto* const stages = shared_memory<OwnStage>();

  // What no launch of the batch writes is asked for before the wait for earlier ones, and weights before it is known whose rows these are.
  AsyncCopies copies;
  const T* const first_weight = call.weight + (static_cast<size_t>(site) * call.out + column) * in;
  RowCopies<T, Own::kColumns, kThreads> weights(stages->weight[0], first_weight, in, columns, threadIdx.x);
#pragma unroll 1
  for (unsigned i = 0; i < kBehind && i * kSteps < words; ++i) weights.copy_next(copies, i * sizeof(OwnStage));

  const Part own = find_part<kWide>(call, tiles, row_group, site, part);
  const unsigned rows = own.rows;
  if (rows + find_part<kWide>(call, tiles, row_group, site, 1 - part).rows == 0) {
    copies.commit();
    copies.template wait<0>();
    return;
  }
  const uint32_t* const own_planes = rows == 0 ? nullptr : own.planes + column * words;
  const unsigned panels = rows == 0 ? 0 : columns / kTile;
  ask_for_planes(own_planes, panels, words);
  PlaneCopies<Own::kBlockPanels, kPartThreads> planes(stages->planes[part][0][0], own_planes, words, panels, part_thread);
#pragma unroll 1
  for (unsigned i = 0; i < kBehind && i * kSteps < words; ++i) planes.copy_next(copies, i * sizeof(OwnStage));

  follow_earlier_launches();
  RowCopies<T, Own::kPartRows, kPartThreads> inputs(stages->x[part][0], call.x + static_cast<size_t>(own.first_row) * in, in, rows,
                                                    part_thread);
#pragma unroll 1
  for (unsigned i = 0; i < kBehind; ++i) {
    if (i * kSteps < words) inputs.copy_next(copies, i * sizeof(OwnStage));
    copies.commit();  // also where it is empty, so that groups can be counted
  }
  unsigned next = kBehind * sizeof(OwnStage);  // stage to fill: offset in bytes
  const auto copy_stage = [&](unsigned word) {
    if (word < words) {
      weights.copy_next(copies, next);
      planes.copy_next(copies, next);
      inputs.copy_next(copies, next);
    }
    copies.commit();
    next = next == kBehind * sizeof(OwnStage) ? 0 : next + sizeof(OwnStage);
  };

  // Transposed, [columns][rows]: a left operand's registers come from two rows each, and masking moves the values of weights anyway.
  WarpSums sums[Own::kStrips][kPanels];
  unsigned stage = 0;  // offset in bytes
#pragma unroll 1
  for (unsigned step = 0; step < words; step += kSteps) {
    copies.template wait<kBehind - 1>();
    __syncthreads();  // the stage is whole, and all warps are done with the one before it, which is the next to fill
    const auto& now = *reinterpret_cast<const OwnStage*>(reinterpret_cast<const std::byte*>(stages) + stage);
    const T* const x = now.x[part][group];
    WarpOperand<T> left[kPanels], right[kStripsAtOnce];
    unsigned keep[kPanels][2];
#pragma unroll
    for (unsigned p = 0; p < kPanels; ++p) {
      const unsigned panel = warp * kPanels + p;
      left[p].load(now.weight[group] + panel * kTile * kDepth, kDepth, kTile, kDepth);
      load_keep(keep[p], now.planes[part][group][panel]);
    }
#pragma unroll
    for (unsigned i = 0; i < kStripsAtOnce; ++i) right[i].load(x + i * kTile * kDepth, kDepth, kTile, kDepth);
    copy_stage(step + kBehind * kSteps);  // while operands come
#pragma unroll
    for (unsigned p = 0; p < kPanels; ++p) {
#pragma unroll
      for (unsigned i = 0; i < 2; ++i) keep_values(left[p].rows[i], keep[p][i]);
    }
#pragma unroll
    for (unsigned first = 0; first < Own::kStrips; first += kStripsAtOnce) {
      if (first * kTile >= rows) break;
      if (first != 0) {
#pragma unroll
        for (unsigned i = 0; i < kStripsAtOnce; ++i) right[i].load(x + (first + i) * kTile * kDepth, kDepth, kTile, kDepth);
      }
#pragma unroll
      for (unsigned i = 0; i < kStripsAtOnce; ++i) {
#pragma unroll
        for (unsigned p = 0; p < kPanels; ++p) multiply_add(sums[first + i][p], left[p], right[i]);
      }
    }
    stage = stage == kBehind * sizeof(OwnStage) ? 0 : stage + sizeof(OwnStage);
  }

  // Of two warps that share sums each adds up and rounds those of half the strips: it hands the other one its own of the others. Which of
  // two comes first does not change their sum.
  auto& results = *shared_memory<Results<T, kWide>>();
  __syncthreads();  // no copies are under way, and all warps are done with the last stage
  constexpr unsigned kOwnStrips = Own::kStrips / kSteps, kStripSums = kPanels * WarpSums::kOwn;
#pragma unroll
  for (unsigned strip = 0; strip < kOwnStrips; ++strip) {
#pragma unroll
    for (unsigned i = 0; i < kStripSums; ++i) {
      float& one = sums[strip][i / WarpSums::kOwn].values[i % WarpSums::kOwn];
      const float other = sums[strip + kOwnStrips][i / WarpSums::kOwn].values[i % WarpSums::kOwn];
      results.sums[strip * kStripSums + i][threadIdx.x] = group == 0 ? other : one;
      one = group == 0 ? one : other;
    }
  }
  __syncthreads();
  const unsigned other_thread = group == 0 ? threadIdx.x + kGroupThreads : threadIdx.x - kGroupThreads;
#pragma unroll
  for (unsigned strip = 0; strip < kOwnStrips; ++strip) {
#pragma unroll
    for (unsigned p = 0; p < kPanels; ++p) {
#pragma unroll
      for (unsigned i = 0; i < WarpSums::kOwn; ++i) {
        const float sum = sums[strip][p].values[i] + results.sums[strip * kStripSums + p * WarpSums::kOwn + i][other_thread];
        const unsigned row = (group * kOwnStrips + strip) * kTile + WarpSums::column(i);
        results.rows[part][row][(warp * kPanels + p) * kTile + WarpSums::row(i)] = from_float<T>(sum);
      }
    }
  }
  __syncthreads();
  constexpr unsigned kRowVectors = Own::kColumns / kVectorSize, kRowsAtOnce = kPartThreads / kRowVectors;
  const unsigned at = part_thread % kRowVectors * kVectorSize;
  if (at >= columns) return;
  T* const y = call.y + static_cast<size_t>(own.first_row) * call.out_stride + site * call.out + column + at;
#pragma unroll 1
  for (unsigned row = part_thread / kRowVectors; row < rows; row += kRowsAtOnce) {
    store_stored(y + row * call.out_stride, load_stored(results.rows[part][row] + at));
  }
}

/// The items of one block; those of one group of columns come together.
template <bool kWide, class T>
__device__ __forceinline__ void work_on_items(const Mask<T>& call, unsigned tiles) {
  const unsigned row_groups = (tiles + Shape<kWide>::kTiles - 1) / Shape<kWide>::kTiles;
  const unsigned all = items<kWide>(tiles, call.out, call.sites);
#pragma unroll 1
  for (unsigned item = blockIdx.x; item < all; item += gridDim.x) {
    if (item != blockIdx.x) __syncthreads();  // all have stored the last item's results
    multiply<kWide>(call, tiles, item % row_groups, item / row_groups);
  }
}

/// Narrow items for up to `most_narrow` tiles, wide ones for more: an output's sum is the same.
template <class T>
__global__ void __launch_bounds__(kThreads, 1) mask_kernel(Mask<T> call, uint32_t most_narrow) {
  const unsigned tiles = call.tiles.count != nullptr ? *call.tiles.count : call.tiles.most;
  if (kEverWide<T> && tiles > most_narrow) {
    if constexpr (kEverWide<T>) work_on_items<true>(call, tiles);
  } else {
    work_on_items<false>(call, tiles);
  }
  follow_earlier_launches();  // for blocks without work
}

}  // namespace

template <class T>
void mask(Stream stream, const Mask<T>& call) {
  if (call.tiles.most == 0) return;
  if (call.integers.weight != nullptr) return mask_integers(stream, call);
  allow_shared_memory(mask_kernel<T>, kBytes);
  // A wide item takes less time than the narrow ones that are the same work, unless each of them has a multiprocessor of its own. How many
  // tiles there are is known on the device alone: as many blocks as either needs.
  const unsigned most = call.tiles.most, own = multiprocessors() / groups<false>(call.out, call.sites);
  const unsigned most_narrow = kEverWide<T> && own < most ? own : most;
  const unsigned narrow = items<false>(most_narrow, call.out, call.sites);
  const unsigned wide = kEverWide<T> ? items<true>(most, call.out, call.sites) : 0;
  const unsigned needed = narrow > wide ? narrow : wide, blocks = kBlocksAtMost * multiprocessors();
  launch(stream, mask_kernel<T>, dim3(needed < blocks ? needed : blocks), dim3(kThreads), kBytes, call, most_narrow);
}

template void mask(Stream, const Mask<float>&);
template void mask(Stream, const Mask<Half>&);
template void mask(Stream, const Mask<BFloat16>&);

}  // namespace pets::kernels::cuda
