#include "kernels/quantize/integer_product_cuda.h"

#include "kernels/cuda/staged_rows.h"

// A block's operands come through shared memory by copies that are three stages ahead; a warp has so many rows and columns that it reads 12
// operands' halves for 16 instructions of its tensor core.
namespace pets::kernels::cuda {
namespace {

constexpr unsigned kRowWarps = 2, kColumnWarps = 4, kWarps = kRowWarps * kColumnWarps;
constexpr unsigned kThreads = kWarps * kWarpSize;
constexpr unsigned kSteps = kStagedSteps;  // 64 bytes of a row
constexpr unsigned kStages = 4;            // one of them being multiplied
constexpr unsigned kOutputPadding = 8;     // values: rows that lanes store together begin in different banks
constexpr unsigned kBlocks = 2;            // of a multiprocessor, that registers must allow

/// kStrips of 16 rows and kPanels of 16 columns of a warp.
template <unsigned kStrips, unsigned kPanels>
struct BlockShape {
  static constexpr unsigned kRows = kRowWarps * kStrips * kTile, kColumns = kColumnWarps * kPanels * kTile;
};

template <class Shape>
struct Stage {
  StagedRows<int8_t, Shape::kRows> x;
  StagedRows<int8_t, Shape::kColumns> weight;
};

/// At the end the outputs lie there.
template <class T, class Shape>
constexpr size_t kSharedBytes = kStages * sizeof(Stage<Shape>) > Shape::kRows*(Shape::kColumns + kOutputPadding) * sizeof(T)
                                    ? kStages * sizeof(Stage<Shape>)
                                    : Shape::kRows*(Shape::kColumns + kOutputPadding) * sizeof(T);

template <class T, unsigned kStrips, unsigned kPanels>
__global__ void __launch_bounds__(kThreads, kBlocks) integer_product_kernel(IntegerProduct<T> call) {
  using Shape = BlockShape<kStrips, kPanels>;
  constexpr unsigned kBehind = kStages - 1;
  const unsigned in = call.in, words = (in + kDepth - 1) / kDepth;
  const unsigned first_row = blockIdx.x * Shape::kRows, first_column = blockIdx.y * Shape::kColumns;
  const unsigned rows = call.rows - first_row, columns = call.out - first_column;  // maybe more than the block's
  const unsigned warp = threadIdx.x / kWarpSize, strip = warp / kColumnWarps * kStrips, panel = warp % kColumnWarps * kPanels;
  auto* const stages = shared_memory<Stage<Shape>>();

  AsyncCopies copies;
  const RowCopies<int8_t, Shape::kRows, kThreads> inputs(stages->x, call.x + static_cast<size_t>(first_row) * in, in, rows);
  const RowCopies<int8_t, Shape::kColumns, kThreads> weights(stages->weight, call.weight + static_cast<size_t>(first_column) * in, in,
                                                             columns);
  const auto copy_weights = [&](unsigned stage, unsigned word) {
    if (word < words) weights.copy(copies, stage * sizeof(Stage<Shape>), word * kDepth, in);
  };
  const auto copy_inputs = [&](unsigned stage, unsigned word) {
    if (word < words) inputs.copy(copies, stage * sizeof(Stage<Shape>), word * kDepth, in);
    copies.commit();  // also where it is empty, so that groups can be counted
  };
#pragma unroll
  for (unsigned i = 0; i < kBehind; ++i) copy_weights(i, i * kSteps);
  follow_earlier_launches();  // which write nothing but inputs
#pragma unroll
  for (unsigned i = 0; i < kBehind; ++i) copy_inputs(i, i * kSteps);

  WarpIntegerSums sums[kStrips][kPanels];
  for (unsigned word = 0, stage = 0; word < words; word += kSteps) {
    copies.template wait<kBehind - 1>();
    __syncthreads();  // the stage is whole, and all warps are done with the one before it, which is the next to fill
    const unsigned next = stage == 0 ? kBehind : stage - 1;
    copy_weights(next, word + kBehind * kSteps);
    copy_inputs(next, word + kBehind * kSteps);
    const Stage<Shape>& now = stages[stage];
#pragma unroll
    for (unsigned s = 0; s < kSteps; ++s) {  // where the depth has only one more, zeros are added
      WarpOperand<int8_t> left[kStrips], right[kPanels];
#pragma unroll
      for (unsigned i = 0; i < kStrips; ++i) left[i].load(now.x[s] + (strip + i) * kTile * kDepth, kDepth, kTile, kDepth);
#pragma unroll
      for (unsigned p = 0; p < kPanels; ++p) right[p].load(now.weight[s] + (panel + p) * kTile * kDepth, kDepth, kTile, kDepth);
#pragma unroll
      for (unsigned i = 0; i < kStrips; ++i) {
#pragma unroll
        for (unsigned p = 0; p < kPanels; ++p) multiply_add(sums[i][p], left[i], right[p]);
      }
    }
    stage = stage == kBehind ? 0 : stage + 1;
  }

  // Through shared memory, so that a row's outputs are stored by 16 bytes.
  constexpr unsigned kStride = Shape::kColumns + kOutputPadding, kRowVectors = Shape::kColumns / kVectorSize;
  T* const output = shared_memory<T>();
  __syncthreads();  // no copies are under way, and all warps are done with the last stage
#pragma unroll
  for (unsigned i = 0; i < kStrips; ++i) {
#pragma unroll
    for (unsigned p = 0; p < kPanels; ++p) {
#pragma unroll
      for (unsigned n = 0; n < WarpIntegerSums::kOwn; n += 2) {
        const unsigned row = (strip + i) * kTile + WarpIntegerSums::row(n), column = (panel + p) * kTile + WarpIntegerSums::column(n);
        if (row >= rows || column >= columns) continue;
        const float row_scale = __ldg(call.row_scale + first_row + row);
        const float* const scale = call.column_scale + first_column + column;
        const int32_t* const own = sums[i][p].values + n;
        *reinterpret_cast<StoredPair<T>*>(output + row * kStride +
                                          column) = {{from_float<T>(static_cast<float>(own[0]) * (row_scale * __ldg(scale))),
                                                      from_float<T>(static_cast<float>(own[1]) * (row_scale * __ldg(scale + 1)))}};
      }
    }
  }
  __syncthreads();
  const unsigned at = threadIdx.x % kRowVectors * kVectorSize, end = rows < Shape::kRows ? rows : Shape::kRows;
  if (at >= columns) return;
  T* const y = call.y + static_cast<size_t>(first_row) * call.y_stride + first_column + at;
  for (unsigned row = threadIdx.x / kRowVectors; row < end; row += kThreads / kRowVectors) {
    store_stored(y + static_cast<size_t>(row) * call.y_stride, load_stored(output + row * kStride + at));
  }
}

template <class Shape, class T>
dim3 grid_of(const IntegerProduct<T>& call) {
  return {(call.rows + Shape::kRows - 1) / Shape::kRows, (call.out + Shape::kColumns - 1) / Shape::kColumns};
}

template <unsigned kStrips, unsigned kPanels, class T>
void launch_blocks(Stream stream, const IntegerProduct<T>& call) {
  using Shape = BlockShape<kStrips, kPanels>;
  constexpr size_t kBytes = kSharedBytes<T, Shape>;
  allow_shared_memory(integer_product_kernel<T, kStrips, kPanels>, kBytes);
  launch(stream, integer_product_kernel<T, kStrips, kPanels>, grid_of<Shape>(call), dim3(kThreads), kBytes, call);
}

}  // namespace

template <class T>
void integer_product(Stream stream, const IntegerProduct<T>& call) {
  if (call.rows == 0) return;
  // 128 x 128 outputs a block where half of the multiprocessors have one, else 64 x 64: four times as many blocks, which read shared memory
  // twice as often for a product.
  constexpr unsigned kWideStrips = 4, kWidePanels = 2;
  const dim3 wide = grid_of<BlockShape<kWideStrips, kWidePanels>>(call);
  if (2 * wide.x * wide.y >= multiprocessors()) {
    launch_blocks<kWideStrips, kWidePanels>(stream, call);
  } else {
    launch_blocks<kWideStrips / 2, kWidePanels / 2>(stream, call);
  }
}

template void integer_product(Stream, const IntegerProduct<float>&);
template void integer_product(Stream, const IntegerProduct<Half>&);
template void integer_product(Stream, const IntegerProduct<BFloat16>&);

}  // namespace pets::kernels::cuda
