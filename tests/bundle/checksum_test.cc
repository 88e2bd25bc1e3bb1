#include "runtime/bundle/checksum.h"

#include <gtest/gtest.h>

#include <random>

namespace pets::bundle {
namespace {

TEST(BundleChecksum, IsXxh3OfTheBytes) {
  // The published value of XXH3_64bits for no input: the format must never change.
  EXPECT_EQ(checksum({}), 0x2D06800538D394C2U);
}

TEST(BundleChecksum, ManySegmentsGiveTheSameAsOneByOne) {
  std::vector<std::byte> bytes(size_t{40} << 20);
  std::mt19937_64 random(3);
  for (size_t i = 0; i < bytes.size(); i += 4096) bytes[i] = static_cast<std::byte>(random());
  std::vector<std::span<const std::byte>> segments;
  for (size_t i = 0; i < 20; ++i) segments.push_back(std::span(bytes).subspan(i * 1000003, i * 1048577));
  segments.push_back(std::span(bytes).first(kChecksumPart));
  segments.push_back(std::span(bytes).first(kChecksumPart + 1));
  segments.push_back(std::span(bytes).first(3 * kChecksumPart));
  const std::vector<uint64_t> found = segment_checksums(segments);
  ASSERT_EQ(found.size(), segments.size());
  for (size_t i = 0; i < segments.size(); ++i) EXPECT_EQ(found[i], segment_checksum(segments[i])) << i;
  EXPECT_TRUE(segment_checksums({}).empty());
}

TEST(BundleChecksum, OfALongSegmentIsThatOfItsPartsChecksums) {
  std::vector<std::byte> bytes(2 * kChecksumPart + 5, std::byte{7});
  const std::span<const std::byte> all(bytes);
  const auto part = [&](size_t begin, size_t length) { return checksum(all.subspan(begin, length)); };
  const std::vector<uint64_t> parts = {part(0, kChecksumPart), part(kChecksumPart, kChecksumPart), part(2 * kChecksumPart, 5)};
  EXPECT_EQ(segment_checksum(all), checksum(std::as_bytes(std::span(parts))));
  EXPECT_EQ(segment_checksum(all.first(kChecksumPart)), part(0, kChecksumPart));
  EXPECT_EQ(segment_checksum({}), checksum({}));
  const uint64_t before = segment_checksum(all);
  bytes[kChecksumPart + 1] ^= std::byte{1};
  EXPECT_NE(segment_checksum(all), before);
}

}  // namespace
}  // namespace pets::bundle
