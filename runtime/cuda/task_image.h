// One task's operators as they lie in device memory: laid out and converted in a host buffer, to be copied as one piece.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/cuda/task_operators.h"
#include "kernels/embedding/embedding_cuda.h"
#include "runtime/cuda/device.h"
#include "runtime/engine/weights.h"

namespace pets::cuda {

using kernels::cuda::TaskBottleneck;
using kernels::cuda::TaskEmbeddings;
using kernels::cuda::TaskHead;
using kernels::cuda::TaskLinear;
using kernels::cuda::TaskNorm;

/// A task's entries of the tables that kernels read.
struct TaskEntries {
  std::span<TaskLinear> linear;          ///< [layers * kLinearSites]
  std::span<TaskNorm> norm;              ///< [layers * kSublayers]
  std::span<TaskBottleneck> bottleneck;  ///< [layers * kSublayers]
  TaskEmbeddings* embeddings = nullptr;
  TaskHead* head = nullptr;
};

/// Bytes that a task's values take on the device, a multiple of 256; not 0, so that no two tasks lie at one
/// place.
template <class T>
size_t task_image_bytes(const engine::BaseWeights& base, const engine::TaskWeights& task) noexcept;

/// Writes the values into `image` (task_image_bytes) and the entries, whose pointers are those of an image at `device`. Fails where a value
/// does not fit T.
template <class T>
Status make_task_image(const engine::BaseWeights& base, const engine::TaskWeights& task, std::byte* image, std::byte* device,
                       const TaskEntries& entries) noexcept;

}  // namespace pets::cuda
