#include "kernels/cuda/staged_rows.h"
#include "kernels/mask/keep_values_cuda.h"
#include "kernels/mask/mask_cuda.h"

// What should limit this kernel is what its blocks read through L2: each all of its rows' inputs and all of its columns' weights. So a
// block has all rows of a tile and, as long as every multiprocessor has a block, many columns. Copies to shared memory run two stages
// ahead, and weights are masked in registers, once for all rows.
namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarps = 4;  // one a quarter of a multiprocessor; they share the columns of a block
constexpr unsigned kThreads = kWarps * kWarpSize;
constexpr unsigned kStrips = kMaskTileRows / kTile;
constexpr unsigned kStripsAtOnce = 2;      // of rows whose operands a warp loads together; half a tile is left out where it has no rows
constexpr unsigned kSteps = kStagedSteps;  // 128 bytes of a row of halves, what memory moves at once
constexpr unsigned kMostPanels = 2;        // of 16 columns, of a warp: 64 registers of sums
constexpr unsigned kOutputPadding = 8;     // values: rows that lanes store together begin in different banks

constexpr unsigned kStages = 3;  // parts of the depth in shared memory, one of them being multiplied: 39 KiB
constexpr unsigned kBlocks = 3;  // of a multiprocessor, that registers must allow

__host__ __device__ constexpr unsigned block_columns(unsigned panels) { return kWarps * panels * kTile; }

/// kSteps of the depth of a block's operands.
template <unsigned kPanels>
struct Stage {
  StagedRows<int8_t, kMaskTileRows> x;
  StagedRows<int8_t, block_columns(kPanels)> weight;
  uint32_t planes[kSteps][kWarps * kPanels][kTile];  // words of 32 bits are as deep as operands are
};
static_assert(kDepth == 32);

constexpr size_t kSharedBytes = kStages * sizeof(Stage<kMostPanels>);
static_assert(kMaskTileRows * (block_columns(kMostPanels) + kOutputPadding) * sizeof(float) <= kSharedBytes);
static_assert(kSharedBytes <= size_t{48} << 10);  // what every launch may have

/// A thread's part of copying the planes of kPanels panels: to [kSteps][kPanels][16].
template <unsigned kPanels>
class PlaneCopies {
 public:
  __device__ __forceinline__ PlaneCopies(uint32_t* to, const uint32_t* from, unsigned words, unsigned valid_panels)
      : from_(reinterpret_cast<const std::byte*>(opaque(from + (panel() * words + step()) * kTile + first()))),
        to_(shared_address(to + (step() * kPanels + panel()) * kTile + first())),
        words_(words),
        works_(panel() < kPanels && panel() < valid_panels) {}

  /// word: of the depth, a multiple of kSteps.
  __device__ __forceinline__ void copy(AsyncCopies& copies, unsigned stage, unsigned word) const {
    if (works_) copies.copy(to_ + stage, from_ + word * kTile * sizeof(uint32_t), word + step() < words_);
  }

 private:
  static constexpr unsigned kValues = kCopyBytes / sizeof(uint32_t), kStepCopies = kTile / kValues;
  static_assert(kPanels * kSteps * kStepCopies <= kThreads);
  __device__ static unsigned panel() { return threadIdx.x / (kSteps * kStepCopies); }
  __device__ static unsigned step() { return threadIdx.x / kStepCopies % kSteps; }
  __device__ static unsigned first() { return threadIdx.x % kStepCopies * kValues; }

  const std::byte* from_;
  SharedAddress to_;
  unsigned words_;
  bool works_;
};

/// 16 columns' masked weights. planes: [16]
__device__ __forceinline__ WarpOperand<int8_t> masked(const int8_t* weight, const uint32_t* planes) {
  WarpOperand<int8_t> operand;
  operand.load(weight, kDepth, kTile, kDepth);
  const unsigned row = threadIdx.x % kWarpSize / 4, shift = kDepth - kVectorSize - threadIdx.x % 4 * kVectorSize;
#pragma unroll
  for (unsigned i = 0; i < 2; ++i) keep_values(operand.rows[i], planes[row + i * kTile / 2] >> shift & 0xFF);
  return operand;
}

/// Of one tile, site and group of columns.
template <class T>
struct Work {
  const int8_t* x;       // the tile's first row
  const int8_t* weight;  // the group's first column
  T* y;                  // the tile's first row in the group's first column
  const uint32_t* planes;
  const float *row_scale, *column_scale;  // of the first ones
  unsigned rows, columns;
};

template <unsigned kPanels, class T>
__device__ __forceinline__ void multiply(const Mask<T>& call, const Work<T>& work) {
  using Sums = WarpIntegerSums;
  constexpr unsigned kBehind = kStages - 1;
  const unsigned in = call.in, warp = threadIdx.x / kWarpSize, words = (in + kDepth - 1) / kDepth;
  auto* const stages = shared_memory<Stage<kPanels>>();

  AsyncCopies copies;
  const RowCopies<int8_t, block_columns(kPanels), kThreads> weights(stages->weight, work.weight, in, work.columns);
  const RowCopies<int8_t, kMaskTileRows, kThreads> inputs(stages->x, work.x, in, work.rows);
  const PlaneCopies<kWarps * kPanels> planes(stages->planes[0][0], work.planes, words, work.columns / kTile);
  const auto copy_stage = [&](unsigned stage, unsigned word) {
    if (word < words) {
      const unsigned offset = stage * sizeof(Stage<kPanels>);
      weights.copy(copies, offset, word * kDepth, in);
      planes.copy(copies, offset, word);
      inputs.copy(copies, offset, word * kDepth, in);
    }
    copies.commit();  // also where it is empty, so that groups can be counted
  };
  for (unsigned i = 0; i < kBehind; ++i) copy_stage(i, i * kSteps);

  // Transposed, [columns][rows]: a left operand's registers come from two rows each, and masking moves the values of weights anyway.
  Sums sums[kStrips][kPanels];
  for (unsigned step = 0, stage = 0; step < words; step += kSteps) {
    copies.template wait<kBehind - 1>();
    __syncthreads();  // the stage is whole, and all warps are done with the one before it, which is the next to fill
    copy_stage(stage == 0 ? kBehind : stage - 1, step + kBehind * kSteps);
    const Stage<kPanels>& now = stages[stage];
#pragma unroll
    for (unsigned s = 0; s < kSteps; ++s) {
      WarpOperand<int8_t> left[kPanels];
#pragma unroll
      for (unsigned p = 0; p < kPanels; ++p) {
        const unsigned panel = warp * kPanels + p;
        left[p] = masked(now.weight[s] + panel * kTile * kDepth, now.planes[s][panel]);
      }
#pragma unroll
      for (unsigned first = 0; first < kStrips; first += kStripsAtOnce) {
        if (first != 0 && first * kTile >= work.rows) break;
        WarpOperand<int8_t> right[kStripsAtOnce];
#pragma unroll
        for (unsigned i = 0; i < kStripsAtOnce; ++i) right[i].load(now.x[s] + (first + i) * kTile * kDepth, kDepth, kTile, kDepth);
#pragma unroll
        for (unsigned i = 0; i < kStripsAtOnce; ++i) {
#pragma unroll
          for (unsigned p = 0; p < kPanels; ++p) multiply_add(sums[first + i][p], left[p], right[i]);
        }
      }
    }
    stage = stage == kBehind ? 0 : stage + 1;
  }

  // Through shared memory, since a lane's neighbouring sums are of one column. A sum is rounded once, here.
  constexpr unsigned kStride = block_columns(kPanels) + kOutputPadding, kRowVectors = block_columns(kPanels) / kVectorSize;
  T* const output = shared_memory<T>();
  __syncthreads();  // no copies are under way, and all warps are done with the last stage
#pragma unroll
  for (unsigned strip = 0; strip < kStrips; ++strip) {
    if (strip * kTile >= work.rows) break;
#pragma unroll
    for (unsigned p = 0; p < kPanels; ++p) {
#pragma unroll
      for (unsigned i = 0; i < Sums::kOwn; ++i) {
        const unsigned row = strip * kTile + Sums::column(i), column = (warp * kPanels + p) * kTile + Sums::row(i);
        if (row >= work.rows || column >= work.columns) continue;
        const float scale = __ldg(work.row_scale + row) * __ldg(work.column_scale + column);
        output[row * kStride + column] = from_float<T>(static_cast<float>(sums[strip][p].values[i]) * scale);
      }
    }
  }
  __syncthreads();
  const unsigned at = threadIdx.x % kRowVectors * kVectorSize;
  if (at >= work.columns) return;
  for (unsigned row = threadIdx.x / kRowVectors; row < work.rows; row += kThreads / kRowVectors) {
    store_stored(work.y + row * call.out_stride + at, load_stored(output + row * kStride + at));
  }
}

/// Groups of columns of all sites.
__host__ __device__ constexpr unsigned groups(unsigned out, unsigned sites, unsigned panels) {
  return (out + block_columns(panels) - 1) / block_columns(panels) * sites;
}

/// Wide groups of columns, kMostPanels a warp, from `wide_from` tiles on, one panel a warp below: an output's sum is the same. Blocks that
/// have no work come last; those of one group of columns come together.
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks) mask_integers_kernel(Mask<T> call, uint32_t wide_from) {
  follow_earlier_launches();
  const unsigned tiles = call.tiles.count != nullptr ? *call.tiles.count : call.tiles.most;
  const bool wide = tiles >= wide_from;
  const unsigned panels = wide ? kMostPanels : 1;
  if (blockIdx.x >= tiles * groups(call.out, call.sites, panels)) return;
  const unsigned group = blockIdx.x / tiles, site_groups = groups(call.out, 1, panels), site = group / site_groups;
  const unsigned column = group % site_groups * block_columns(panels);
  const RowTile tile = call.tiles.tiles[blockIdx.x % tiles];
  const uint32_t* const planes = (&call.linears[tile.slot])[site].mask;
  if (planes == nullptr) return;

  Work<T> work;
  const size_t first_x = static_cast<size_t>(tile.first_row) * call.in, first_output = static_cast<size_t>(site) * call.out + column;
  work.x = call.integers.x + first_x;
  work.weight = call.integers.weight + first_output * call.in;
  work.row_scale = call.integers.row_scale + tile.first_row;
  work.column_scale = call.integers.column_scale + first_output;
  work.y = call.y + static_cast<size_t>(tile.first_row) * call.out_stride + first_output;
  work.planes = planes + column * ((call.in + kDepth - 1) / kDepth);
  work.rows = tile.rows;
  work.columns = call.out - column;
  if (wide) {
    multiply<kMostPanels>(call, work);
  } else {
    multiply<1>(call, work);
  }
}

}  // namespace

template <class T>
void mask_integers(Stream stream, const Mask<T>& call) {
  // How many tiles there are is known on the device alone: as many blocks as either width needs.
  const unsigned most = call.tiles.most, wide = groups(call.out, call.sites, kMostPanels), narrow = groups(call.out, call.sites, 1);
  const unsigned wide_from = (multiprocessors() + wide - 1) / wide, most_narrow = most < wide_from ? most : wide_from - 1;
  const unsigned blocks = most_narrow * narrow > most * wide ? most_narrow * narrow : most * wide;
  launch(stream, mask_integers_kernel<T>, dim3(blocks), dim3(kThreads), kSharedBytes, call, wide_from);
}

template void mask_integers(Stream, const Mask<float>&);
template void mask_integers(Stream, const Mask<Half>&);
template void mask_integers(Stream, const Mask<BFloat16>&);

}  // namespace pets::kernels::cuda
