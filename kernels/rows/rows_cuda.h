// Moving rows between packed order and what other parts of the engine read.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/strip.h"

namespace pets::kernels::cuda {

/// to[i] = from[rows[i]] for `count` rows of `width` values, a multiple of 8; 16-byte aligned, no overlap.
template <class T>
void gather_rows(Stream stream, const T* from, const uint32_t* rows, uint32_t count, uint32_t width, T* to);

/// The same into strips of floats, as the CPU's heads read them: value f of row i goes to strips[i / 16][f][i % 16]. `rows` null: all in
/// order. Rows of the last strip beyond `count` are zero.
template <class T>
void gather_strips(Stream stream, const T* from, const uint32_t* rows, uint32_t count, uint32_t width, float* strips);

}  // namespace pets::kernels::cuda
