#include "runtime/bundle/checksum.h"

#include <gtest/gtest.h>

#include <random>

namespace pets::bundle {
namespace {

TEST(BundleChecksum, IsXxh3OfTheBytes) {
  // The published value of XXH3_64bits for no input: the format must never change.
  EXPECT_EQ(checksum({}), 0x2D06800538D394C2U);
}

TEST(BundleChecksum, ManyRangesGiveTheSameAsOneByOne) {
  std::vector<std::byte> bytes(size_t{40} << 20);
  std::mt19937_64 random(3);
  for (size_t i = 0; i < bytes.size(); i += 4096) bytes[i] = static_cast<std::byte>(random());
  std::vector<std::span<const std::byte>> ranges;
  for (size_t i = 0; i < 20; ++i) ranges.push_back(std::span(bytes).subspan(i * 1000003, i * 65537));
  const std::vector<uint64_t> found = checksums(ranges);
  ASSERT_EQ(found.size(), ranges.size());
  for (size_t i = 0; i < ranges.size(); ++i) EXPECT_EQ(found[i], checksum(ranges[i])) << i;
  EXPECT_TRUE(checksums({}).empty());
}

}  // namespace
}  // namespace pets::bundle
