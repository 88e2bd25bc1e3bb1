// The sections of pets-cuda-kernel-bench. Each prints Markdown tables to standard output and throws what goes wrong.
#pragma once

#include "benchmarks/kernels/cuda/gpu.h"

namespace pets::benchmarks::gpu {

/// Device to device copies and a large half-precision product: what other figures are shares of.
void peaks(Gpu& gpu);
/// The shared products of BERT-base: Queue::product, cuBLASLt's algorithms, fused bias and GELU.
void shared_products(Gpu& gpu);
/// The same of int8 bases: rows rounded to int8 and this project's product of integers, or cuBLAS's and scales after it, beside halves.
void integer_products(Gpu& gpu);
/// The attention kernel by head size and length.
void attention(Gpu& gpu);
/// The grouped low-rank kernel against cuBLAS's grouped products.
void low_rank(Gpu& gpu);
/// The grouped bottleneck kernel against cuBLAS's grouped products.
void bottleneck(Gpu& gpu);
/// The grouped sparse kernel against cuSPARSE, a call a task.
void sparse(Gpu& gpu);
/// The mask kernel against the sparse complement: a shared product and minus what the mask drops.
void mask(Gpu& gpu);

}  // namespace pets::benchmarks::gpu
