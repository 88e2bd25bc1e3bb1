#include "kernels/mask/mask_cuda.h"

#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/warp_operand.h"

// What should limit this kernel is what its blocks read through L2: each all of its rows' inputs and all of its columns' weights. So a
// block has all rows of a tile and, as long as every multiprocessor has a block, many columns. Copies to shared memory run two stages
// ahead, and weights are masked in registers, once for all rows.
namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarps = 4;  // one a quarter of a multiprocessor; they share the columns of a block
constexpr unsigned kThreads = kWarps * kWarpSize;
constexpr unsigned kStrips = kMaskTileRows / kTile;
constexpr unsigned kStripsAtOnce = 2;   // of rows whose operands a warp loads together; half a tile is left out where it has no rows
constexpr unsigned kSteps = 2;          // of kDepth between two barriers: 128 bytes of a row of halves, what memory moves at once
constexpr unsigned kMostPanels = 2;     // of 16 columns, of a warp: 64 registers of sums
constexpr unsigned kOutputPadding = 8;  // values: rows that lanes store together begin in different banks

/// Parts of the depth in shared memory, one of them being multiplied. With 75 KiB of three, two blocks are on a multiprocessor of Orin,
/// three on Hopper's; in float two take 98 KiB, all that a block may have everywhere.
template <class T>
constexpr unsigned kStages = sizeof(T) == sizeof(float) ? 2 : 3;
/// Of a multiprocessor, that registers must allow.
template <class T>
constexpr unsigned kBlocks = sizeof(T) == sizeof(float) ? 2 : 3;

__host__ __device__ constexpr unsigned block_columns(unsigned panels) { return kWarps * panels * kTile; }

/// kSteps of the depth of a block's operands. Rows of a step lie one after another without padding: of halves, two rows are all banks, and
/// the eight lanes that read together read two rows of four.
template <class T, unsigned kPanels>
struct Stage {
  T x[kSteps][kMaskTileRows * kDepth];
  T weight[kSteps][block_columns(kPanels) * kDepth];
  uint32_t planes[kSteps][kWarps * kPanels][kTile];  // words of 32 bits are as deep as operands are
};
static_assert(kDepth == 32);

template <class T>
constexpr size_t kSharedBytes = kStages<T> * sizeof(Stage<T, kMostPanels>);
static_assert(kMaskTileRows * (block_columns(kMostPanels) + kOutputPadding) * sizeof(float) <= kSharedBytes<float>);
static_assert(kSharedBytes<float> <= size_t{99} << 10 && kSharedBytes<Half> <= size_t{75} << 10);

/// Lets nvcc keep the address instead of making it anew, from the kernel's parameters on, for every copy.
__device__ __forceinline__ const std::byte* kept_address(const void* pointer) {
#if defined(__CUDACC__)
  asm volatile("" : "+l"(pointer));
#endif
  return static_cast<const std::byte*>(pointer);
}

/// A thread's part of copying kRows rows to the stages, kSteps of the depth at a time. Values beyond the depth are not read: zeros stand
/// for them. Rows beyond `valid_rows` are left as they are in shared memory, since what is made of them is not stored.
template <class T, unsigned kRows>
class RowCopies {
 public:
  /// to: the first stage's [kSteps][kRows * kDepth]. from: the first row's first value.
  __device__ __forceinline__ RowCopies(T* to, const T* from, unsigned stride, unsigned valid_rows)
      : from_(kept_address(from + first() * stride + depth())),
        to_(shared_address(to + step() * kRows * kDepth + first() * kDepth + depth() % kDepth)),
        row_bytes_(stride * sizeof(T)),
        rows_(first() < valid_rows ? valid_rows - first() : 0) {}

  /// at: of the depth, a multiple of kSteps * kDepth. stage: offset in bytes.
  __device__ __forceinline__ void copy(AsyncCopies& copies, unsigned stage, unsigned at, unsigned in) const {
    const std::byte* const from = from_ + at * sizeof(T);
    const bool valid = at + depth() < in;
#pragma unroll
    for (unsigned i = 0; i < kRows; i += kRowsAtOnce) {
      if (i < rows_) copies.copy(to_ + stage + i * kDepth * sizeof(T), from + static_cast<uint64_t>(row_bytes_) * i, valid);
    }
  }

 private:
  static constexpr unsigned kValues = kCopyBytes / sizeof(T), kStepCopies = kDepth / kValues, kRowCopies = kSteps * kStepCopies;
  static constexpr unsigned kRowsAtOnce = kThreads / kRowCopies;
  static_assert(kSteps == 2 && kRowsAtOnce % 2 == 0 && kRows % kRowsAtOnce == 0);
  __device__ static unsigned step() { return threadIdx.x / kStepCopies % kSteps; }
  /// Of rows. Lanes that write together write one step of one row and the other step of its neighbour: different banks.
  __device__ static unsigned first() { return threadIdx.x / (2 * kRowCopies) * 2 + (threadIdx.x / kRowCopies + step()) % 2; }
  __device__ static unsigned depth() { return step() * kDepth + threadIdx.x % kStepCopies * kValues; }

  const std::byte* from_;
  SharedAddress to_;
  unsigned row_bytes_, rows_;
};

/// Likewise of the planes of kPanels panels: to [kSteps][kPanels][16].
template <unsigned kPanels>
class PlaneCopies {
 public:
  __device__ __forceinline__ PlaneCopies(uint32_t* to, const uint32_t* from, unsigned words, unsigned valid_panels)
      : from_(kept_address(from + (panel() * words + step()) * kTile + first())),
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

/// The highest bits of two bytes of `bytes`, 16 times each: of byte kFirst below, of the next one above.
template <unsigned kFirst>
__device__ __forceinline__ unsigned spread_signs(unsigned bytes) {
#if defined(PETS_EMULATED_CUDA)
  return ((bytes >> (8 * kFirst + 7) & 1) != 0 ? 0xFFFFU : 0) | ((bytes >> (8 * kFirst + 15) & 1) != 0 ? 0xFFFF0000U : 0);
#elif defined(__CUDACC__)
  constexpr unsigned kSign = 8;  // of a selector of prmt (PTX ISA, 9.7.8.7): the byte's sign eight times
  constexpr unsigned kLow = kFirst | kSign, kHigh = (kFirst + 1) | kSign;
  unsigned spread;
  asm("prmt.b32 %0, %1, %1, %2;" : "=r"(spread) : "r"(bytes), "n"(kLow | kLow << 4 | kHigh << 8 | kHigh << 12));
  return spread;
#endif
}

/// The bits of +0 for the values whose bits are not set in `keep`: eight bits, of the first value the highest.
template <class T>
__device__ __forceinline__ void keep_values(StoredVector8<T>& values, unsigned keep) {
  if constexpr (sizeof(T) == sizeof(float)) {
#pragma unroll
    for (unsigned i = 0; i < kVectorSize; ++i) values.values[i] = (keep << i & 0x80) != 0 ? values.values[i] : 0;
  } else {
    // Four copies that do not meet, each a bit further to the left: the highest bits of four bytes are the four highest of `keep`.
    const unsigned first = keep * 0x08040201, second = first << 4;
    uint4& words = *reinterpret_cast<uint4*>(&values);
    words.x &= spread_signs<0>(first);
    words.y &= spread_signs<2>(first);
    words.z &= spread_signs<0>(second);
    words.w &= spread_signs<2>(second);
  }
}

/// 16 columns' masked weights. planes: [16]
template <class T>
__device__ __forceinline__ WarpOperand<T> masked(const T* weight, const uint32_t* planes) {
  WarpOperand<T> operand;
  operand.load(weight, kDepth, kTile, kDepth);
  const unsigned row = threadIdx.x % kWarpSize / 4, shift = kDepth - kVectorSize - threadIdx.x % 4 * kVectorSize;
#pragma unroll
  for (unsigned i = 0; i < 2; ++i) keep_values(operand.rows[i], planes[row + i * kTile / 2] >> shift & 0xFF);
  return operand;
}

/// Of one tile, site and group of columns.
template <class T>
struct Work {
  const T* x;       // the tile's first row
  const T* weight;  // the group's first column
  T* y;             // the tile's first row in the group's first column
  const uint32_t* planes;
  unsigned rows, columns;
};

template <unsigned kPanels, class T>
__device__ __forceinline__ void multiply(const Mask<T>& call, const Work<T>& work) {
  constexpr unsigned kBehind = kStages<T> - 1;
  const unsigned in = call.in, warp = threadIdx.x / kWarpSize, words = (in + kDepth - 1) / kDepth;
  auto* const stages = shared_memory<Stage<T, kPanels>>();

  AsyncCopies copies;
  const RowCopies<T, block_columns(kPanels)> weights(stages->weight[0], work.weight, in, work.columns);
  const RowCopies<T, kMaskTileRows> inputs(stages->x[0], work.x, in, work.rows);
  const PlaneCopies<kWarps * kPanels> planes(stages->planes[0][0], work.planes, words, work.columns / kTile);
  const auto copy_stage = [&](unsigned stage, unsigned word) {
    if (word < words) {
      const unsigned offset = stage * sizeof(Stage<T, kPanels>);
      weights.copy(copies, offset, word * kDepth, in);
      planes.copy(copies, offset, word);
      inputs.copy(copies, offset, word * kDepth, in);
    }
    copies.commit();  // also where it is empty, so that groups can be counted
  };
  for (unsigned i = 0; i < kBehind; ++i) copy_stage(i, i * kSteps);

  // Transposed, [columns][rows]: a left operand's registers come from two rows each, and masking moves the values of weights anyway.
  WarpSums sums[kStrips][kPanels];
  for (unsigned step = 0, stage = 0; step < words; step += kSteps) {
    copies.template wait<kBehind - 1>();
    __syncthreads();  // the stage is whole, and all warps are done with the one before it, which is the next to fill
    copy_stage(stage == 0 ? kBehind : stage - 1, step + kBehind * kSteps);
    const Stage<T, kPanels>& now = stages[stage];
#pragma unroll
    for (unsigned s = 0; s < kSteps; ++s) {
      WarpOperand<T> left[kPanels];
#pragma unroll
      for (unsigned p = 0; p < kPanels; ++p) {
        const unsigned panel = warp * kPanels + p;
        left[p] = masked(now.weight[s] + panel * kTile * kDepth, now.planes[s][panel]);
      }
#pragma unroll
      for (unsigned first = 0; first < kStrips; first += kStripsAtOnce) {
        if (first != 0 && first * kTile >= work.rows) break;
        WarpOperand<T> right[kStripsAtOnce];
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
      for (unsigned i = 0; i < WarpSums::kOwn; ++i) {
        const unsigned row = strip * kTile + WarpSums::column(i), column = (warp * kPanels + p) * kTile + WarpSums::row(i);
        output[row * kStride + column] = from_float<T>(sums[strip][p].values[i]);
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
__global__ void __launch_bounds__(kThreads, kBlocks<T>) mask_kernel(Mask<T> call, uint32_t wide_from) {
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
  work.x = call.x + static_cast<size_t>(tile.first_row) * call.in;
  work.weight = call.weight + (static_cast<size_t>(site) * call.out + column) * call.in;
  work.y = call.y + static_cast<size_t>(tile.first_row) * call.out_stride + site * call.out + column;
  work.planes = planes + column * ((call.in + kDepth - 1) / kDepth);
  work.rows = tile.rows;
  work.columns = call.out - column;
  if (wide) {
    multiply<kMostPanels>(call, work);
  } else {
    multiply<1>(call, work);
  }
}

unsigned multiprocessors() {
#if defined(PETS_EMULATED_CUDA)
  return 16;  // as Orin
#else
  int device = 0, count = 0;
  const bool known =
      cudaGetDevice(&device) == cudaSuccess && cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) == cudaSuccess;
  return known ? static_cast<unsigned>(count) : 1;
#endif
}

}  // namespace

template <class T>
void mask(Stream stream, const Mask<T>& call) {
  if (call.tiles.most == 0) return;
#if defined(__CUDACC__)
  cudaFuncSetAttribute(mask_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kSharedBytes<T>));
#endif
  // How many tiles there are is known on the device alone: as many blocks as either width needs.
  const unsigned most = call.tiles.most, wide = groups(call.out, call.sites, kMostPanels), narrow = groups(call.out, call.sites, 1);
  const unsigned wide_from = (multiprocessors() + wide - 1) / wide, most_narrow = most < wide_from ? most : wide_from - 1;
  const unsigned blocks = most_narrow * narrow > most * wide ? most_narrow * narrow : most * wide;
  launch(stream, mask_kernel<T>, dim3(blocks), dim3(kThreads), kSharedBytes<T>, call, wide_from);
}

template void mask(Stream, const Mask<float>&);
template void mask(Stream, const Mask<Half>&);
template void mask(Stream, const Mask<BFloat16>&);

}  // namespace pets::kernels::cuda
