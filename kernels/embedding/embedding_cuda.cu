#include "kernels/embedding/embedding_cuda.h"

#include "kernels/norm/warp_norm_cuda.h"

namespace pets::kernels::cuda {
namespace {

constexpr unsigned kWarpsPerBlock = 4;  // a warp a row: enough rows in flight to cover the loads, and blocks small enough for small batches

/// Row `id` of a table: the task's own where it replaces that row. All lanes search for the same, so each step is one load of a warp.
template <class T>
__device__ __forceinline__ const T* table_row(const T* table, const TaskRows& own, uint32_t id, uint32_t width) {
  uint32_t begin = 0, end = own.count;
  while (begin < end) {
    const uint32_t middle = begin + (end - begin) / 2;
    if (own.rows[middle] < id) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  if (begin < own.count && own.rows[begin] == id) return static_cast<const T*>(own.values) + static_cast<size_t>(begin) * width;
  return table + static_cast<size_t>(id) * width;
}

template <class T, unsigned kVectors>
__global__ void __launch_bounds__(kWarpsPerBlock* kWarpSize) embedding_norm_kernel(EmbeddingNorm<T> call) {
  follow_earlier_launches();
  const unsigned row = blockIdx.x * kWarpsPerBlock + threadIdx.x / kWarpSize;
  if (row >= call.rows) return;
  const TokenRow token = call.tokens[row];
  const TaskEmbeddings& task = call.tasks[call.slots[row]];
  const T* const word = table_row(call.word, task.word, token.id, call.width);
  const T* const position = table_row(call.position, task.position, token.position, call.width);
  const T* const token_type = table_row(call.token_type, task.token_type, token.token_type, call.width);

  WarpRow<kVectors> values;
  for_each_vector(values, call.width, [&](Vector4& value, unsigned at) {
    value = (load_vector<kRowVectorSize>(word + at) + load_vector<kRowVectorSize>(token_type + at)) +
            load_vector<kRowVectorSize>(position + at);
  });
  const TaskNorm& norm = task.norm.gamma != nullptr ? task.norm : call.norm;
  normalize(values, call.width, norm.gamma, norm.beta, call.epsilon);
  T* const hidden = call.hidden + static_cast<size_t>(row) * call.width;
  for_each_vector(values, call.width, [&](const Vector4& value, unsigned at) { store_vector(hidden + at, value); });
}

}  // namespace

template <class T>
void embedding_norm(Stream stream, const EmbeddingNorm<T>& call) {
  if (call.rows == 0) return;
  const dim3 grid((call.rows + kWarpsPerBlock - 1) / kWarpsPerBlock), block(kWarpsPerBlock * kWarpSize);
  if (call.width <= 4 * kWarpRowFeatures) {
    launch(stream, embedding_norm_kernel<T, 4>, grid, block, 0, call);
  } else {
    launch(stream, embedding_norm_kernel<T, 8>, grid, block, 0, call);
  }
}

template void embedding_norm(Stream, const EmbeddingNorm<float>&);
template void embedding_norm(Stream, const EmbeddingNorm<Half>&);
template void embedding_norm(Stream, const EmbeddingNorm<BFloat16>&);

}  // namespace pets::kernels::cuda
