// Embedding sum and LayerNorm of packed rows on the GPU.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/task_operators.h"

namespace pets::kernels::cuda {

/// What a row is made of.
struct TokenRow {
  uint32_t id = 0;  ///< row of the word table
  uint16_t position = 0;
  uint16_t token_type = 0;
};

/// Rows of an embedding table that a task replaces by its own.
struct TaskRows {
  const uint32_t* rows = nullptr;  ///< ascending
  const void* values = nullptr;    ///< T [count][width]
  uint32_t count = 0;
};

struct TaskEmbeddings {
  TaskRows word, position, token_type;
  TaskNorm norm;
};

/// hidden[r] = LayerNorm((word[id] + token_type[type]) + position[p]) with the rows and the norm of the row's task.
/// Tables and parameters are 16-byte aligned.
template <class T>
struct EmbeddingNorm {
  const TokenRow* tokens = nullptr;  ///< [rows]
  uint32_t rows = 0;
  uint32_t width = 0;       ///< a multiple of 8, at most 1,024
  const T* word = nullptr;  ///< tables of [.][width]
  const T* position = nullptr;
  const T* token_type = nullptr;
  TaskNorm norm;  ///< of the base
  float epsilon = 0;
  RowSlots slots = nullptr;
  SiteOperators<TaskEmbeddings> tasks;
  T* hidden = nullptr;  ///< [rows][width]
};

template <class T>
void embedding_norm(Stream stream, const EmbeddingNorm<T>& call);

}  // namespace pets::kernels::cuda
