// The emulation itself: what a GPU would hang on or get wrong must show.
#include "kernels/cuda/emulation/simt.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/device.h"

namespace pets::kernels::cuda {
namespace {

void reduce_kernel(const int* values, int* sums) {
  int* shared = shared_memory<int>();
  const unsigned at = threadIdx.x + blockDim.x * threadIdx.y;
  shared[at] = values[blockIdx.x * blockDim.x * blockDim.y + at];
  __syncthreads();
  for (unsigned half = blockDim.x * blockDim.y / 2; half > 0; half /= 2) {
    if (at < half) shared[at] += shared[at + half];
    __syncthreads();
  }
  if (at == 0) sums[blockIdx.x] = shared[0];
}

TEST(Simt, BarriersOrderSharedMemory) {
  std::vector<int> values(3 * 128), sums(3);
  std::iota(values.begin(), values.end(), 0);
  launch(Stream{}, reduce_kernel, dim3(3), dim3(32, 4), 128 * sizeof(int), values.data(), sums.data());
  for (int block = 0; block < 3; ++block) EXPECT_EQ(sums[block], 128 * 127 / 2 + block * 128 * 128);
}

void shuffle_kernel(unsigned* out) {
  const unsigned lane = threadIdx.x;
  unsigned sum = lane;
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(kAllLanes, sum, offset);
  out[lane] = sum;
  if (lane < 8) out[lane] += __shfl_sync(0xFF, lane, 3);
  out[32 + lane] = __ballot_sync(kAllLanes, lane % 3 == 0);
}

TEST(Simt, ShufflesAndVotes) {
  std::vector<unsigned> out(64);
  launch(Stream{}, shuffle_kernel, dim3(1), dim3(32), 0, out.data());
  unsigned thirds = 0;
  for (unsigned lane = 0; lane < 32; lane += 3) thirds |= 1U << lane;
  for (unsigned lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(out[lane], 496 + (lane < 8 ? 3 : 0)) << lane;
    EXPECT_EQ(out[32 + lane], thirds) << lane;
  }
}

void no_work_kernel() {}

TEST(Simt, MoreSharedMemoryThanEveryLaunchMayHaveMustBeAskedFor) {
  constexpr size_t kUnasked = size_t{48} << 10;
  launch(Stream{}, no_work_kernel, dim3(1), dim3(32), kUnasked);
  EXPECT_THROW(launch(Stream{}, no_work_kernel, dim3(1), dim3(32), kUnasked + 16), std::logic_error);
  allow_shared_memory(no_work_kernel, kUnasked + 16);
  launch(Stream{}, no_work_kernel, dim3(1), dim3(32), kUnasked + 16);
  EXPECT_THROW(launch(Stream{}, no_work_kernel, dim3(1), dim3(32), kUnasked + 32), std::logic_error);
}

void divergent_barrier_kernel() {
  if (threadIdx.x < 7) __syncthreads();
}
void divergent_shuffle_kernel() {
  if (threadIdx.x < 7) (void)__shfl_xor_sync(kAllLanes, 1, 1);
  __syncthreads();
}

TEST(Simt, WhatWouldHangIsAnError) {
  EXPECT_THROW(launch(Stream{}, divergent_barrier_kernel, dim3(1), dim3(64), 0), std::logic_error);
  EXPECT_THROW(launch(Stream{}, divergent_shuffle_kernel, dim3(1), dim3(64), 0), std::logic_error);
}

void neighbour_kernel(int* out, bool barrier) {
  int* shared = shared_memory<int>();
  shared[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (barrier) __syncthreads();
  out[threadIdx.x] = shared[(threadIdx.x + 1) % blockDim.x];
}

TEST(Simt, AMissingBarrierGivesWrongValues) {
  std::vector<int> out(64);
  const auto right = [&] {
    for (int i = 0; i < 64; ++i) {
      if (out[static_cast<size_t>(i)] != (i + 1) % 64) return false;
    }
    return true;
  };
  launch(Stream{}, neighbour_kernel, dim3(1), dim3(64), 64 * sizeof(int), out.data(), true);
  EXPECT_TRUE(right());
  launch(Stream{}, neighbour_kernel, dim3(1), dim3(64), 64 * sizeof(int), out.data(), false);
  EXPECT_FALSE(right());
}

void throwing_kernel() {
  if (threadIdx.x == 5) throw std::runtime_error("thread 5");
  __syncthreads();
}

TEST(Simt, AnExceptionEndsTheGrid) { EXPECT_THROW(launch(Stream{}, throwing_kernel, dim3(2), dim3(64), 0), std::runtime_error); }

/// Two groups of copies: the first of what `from` has, the second of zeros.
void copy_kernel(const float* from, float* out, bool waits) {
  constexpr unsigned kValues = kCopyBytes / sizeof(float);
  auto* shared = shared_memory<float>();
  AsyncCopies copies;
  copies.copy(shared_address(shared), from, true);
  copies.commit();
  copies.copy(shared_address(shared) + kCopyBytes, nullptr, false);
  copies.commit();
  if (waits) copies.wait<1>();
  for (unsigned i = 0; i < 2 * kValues; ++i) out[i] = shared[i];
  copies.wait<0>();
  for (unsigned i = 0; i < 2 * kValues; ++i) out[2 * kValues + i] = shared[i];
}

TEST(Simt, CopiesAreThereWhenTheyWereWaitedFor) {
  const std::vector<float> from = {1, 2, 3, 4};
  std::vector<float> out(16);
  for (const bool waits : {false, true}) {
    launch(Stream{}, copy_kernel, dim3(1), dim3(1), 2 * kCopyBytes, from.data(), out.data(), waits);
    for (unsigned i = 0; i < 4; ++i) {
      EXPECT_EQ(out[i] == from[i], waits) << i;
      EXPECT_TRUE(std::isnan(out[4 + i])) << i;
      EXPECT_EQ(out[8 + i], from[i]) << i;
      EXPECT_EQ(out[12 + i], 0) << i;
    }
  }
}

}  // namespace
}  // namespace pets::kernels::cuda
