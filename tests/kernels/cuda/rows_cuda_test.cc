#include "kernels/rows/rows_cuda.h"

#include "tests/kernels/cuda/bounded.h"

namespace pets::kernels::cuda {
namespace {

constexpr uint32_t kRows = 40;

template <class T>
class RowsCuda : public ::testing::Test {
 protected:
  /// Rows to gather, some of them twice and none in order, from a table of random values.
  struct Case {
    std::vector<T> table;
    std::vector<uint32_t> rows;
  };
  Case random_case(uint64_t seed, uint32_t width, uint32_t count) {
    Random random(seed);
    std::vector<float> values = random.floats(size_t{kRows} * width);
    Case result{rounded<T>(values), {}};
    for (uint32_t i = 0; i < count; ++i) result.rows.push_back(random.below(kRows));
    return result;
  }
};
TYPED_TEST_SUITE(RowsCuda, ActivationTypes);

TYPED_TEST(RowsCuda, GatherRows) {
  using T = TypeParam;
  for (const uint32_t width : {8U, 48U, 136U}) {
    for (const uint32_t count : {0U, 1U, 33U}) {
      const uint64_t seed = std::random_device()();
      SCOPED_TRACE(::testing::Message() << "width " << width << " count " << count << " seed " << seed);
      const auto gathered = this->random_case(seed, width, count);
      const DeviceArray<T> from(gathered.table), to(std::vector<T>(size_t{count} * width, as_type<T>(-77)));
      const DeviceArray<uint32_t> rows(gathered.rows);
      gather_rows(Stream{}, from.data(), rows.data(), count, width, to.data());
      const std::vector<T> found = to.read();
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(as_float(found[i]), as_float(gathered.table[gathered.rows[i / width] * width + i % width])) << "value " << i;
      }
    }
  }
}

}  // namespace
}  // namespace pets::kernels::cuda
