// What a queue does that no session shows.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "runtime/cuda/device.h"

namespace pets::cuda {
namespace {

template <class V>
DeviceMemory on_device(Queue& queue, const std::vector<V>& values) {
  auto memory = DeviceMemory::allocate(values.size() * sizeof(V), "a test's operand");
  EXPECT_TRUE(memory) << memory.status().c_str();
  EXPECT_TRUE(queue.upload(memory->data(), values.data(), values.size() * sizeof(V)));
  EXPECT_TRUE(queue.synchronize());
  return std::move(*memory);
}

TEST(CudaQueue, ProductsOfIntegersAreExact) {
  ASSERT_TRUE(probe_device());
  auto made = Queue::create();
  ASSERT_TRUE(made) << made.status().c_str();
  Queue& queue = **made;
  auto workspace = DeviceMemory::allocate(kWorkspaceBytes, "a workspace");
  ASSERT_TRUE(workspace);
  ASSERT_TRUE(queue.set_workspace(workspace->data()));
  std::mt19937 random(5);
  const struct { uint32_t rows, in, out; } shapes[] = {{16, 16, 16}, {48, 112, 64}, {80, 768, 336}};
  for (const auto& [rows, in, out] : shapes) {
    std::vector<int8_t> x(size_t{rows} * in), w(size_t{out} * in);
    for (std::vector<int8_t>* values : {&x, &w}) {
      for (int8_t& value : *values) value = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    }
    for (uint32_t k = 0; k < in; ++k) x[k] = w[k] = 127;  // the largest sum
    const DeviceMemory d_x = on_device(queue, x), d_w = on_device(queue, w);
    std::vector<int32_t> y(size_t{rows} * out, -77);
    const DeviceMemory d_y = on_device(queue, y);
    const Status queued =
        queue.product(Int8Product{reinterpret_cast<const int8_t*>(d_x.data()), reinterpret_cast<const int8_t*>(d_w.data()),
                                  reinterpret_cast<int32_t*>(d_y.data()), rows, in, out});
    ASSERT_TRUE(queued) << queued.c_str();
    ASSERT_TRUE(queue.download(y.data(), d_y.data(), y.size() * sizeof(int32_t)));
    ASSERT_TRUE(queue.synchronize());
    for (uint32_t row = 0; row < rows; ++row) {
      for (uint32_t c = 0; c < out; ++c) {
        int32_t sum = 0;
        for (uint32_t k = 0; k < in; ++k) sum += int32_t{x[row * in + k]} * w[c * in + k];
        ASSERT_EQ(y[row * out + c], sum) << rows << " x " << in << " x " << out << ": row " << row << " column " << c;
      }
    }
  }
}

}  // namespace
}  // namespace pets::cuda
