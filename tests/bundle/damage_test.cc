// Damage as storage and transport make it: nothing may go unnoticed, crash, or take good tasks along.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "tests/bundle/fixture.h"

#include "schema/bundle_format.h"

namespace pets::bundle_test {
namespace {

const std::vector<std::byte>& small_bundle() {
  static const std::vector<std::byte> bytes = bundle_bytes(small_base(), small_tasks());
  return bytes;
}

bool notices_damage(std::span<const std::byte> bytes) {
  const auto file = parse(bytes);
  if (!file) return file.status().message().size() > 10;
  const auto tasks = (*file)->tasks();
  return std::any_of(tasks.begin(), tasks.end(), [](const bundle::TaskSegment& task) { return !task.status; });
}

TEST(BundleDamage, EveryFlippedByteIsNoticed) {
  AlignedBytes copy(small_bundle());
  std::mt19937 random(20220711);
#if defined(PETS_EMULATED)
  constexpr size_t kStep = 61;
#elif defined(PETS_SLOW_BUILD)  // instrumented: 2 minutes for all bytes
  constexpr size_t kStep = 7;
#else
  constexpr size_t kStep = 1;
#endif
  for (size_t i = 0; i < copy.bytes().size(); i += kStep) {
    const auto flip = static_cast<std::byte>(1U << random() % 8);
    copy.bytes()[i] ^= flip;
    ASSERT_TRUE(notices_damage(copy.bytes())) << "byte " << i << " of " << copy.bytes().size() << ", flip " << static_cast<int>(flip);
    copy.bytes()[i] ^= flip;
  }
}

TEST(BundleDamage, EveryFlippedBitOfHeaderAndDirectoryIsNoticed) {
  AlignedBytes copy(small_bundle());
  schema::FileHeader header;
  std::memcpy(&header, copy.bytes().data(), sizeof header);
  const size_t end = header.directory_offset + header.directory_length;
  for (size_t bit = 0; bit < end * 8; ++bit) {
    copy.bytes()[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    ASSERT_FALSE(parse(copy.bytes())) << "bit " << bit;
    copy.bytes()[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
  }
}

TEST(BundleDamage, EveryTruncationIsRefused) {
  const auto& bytes = small_bundle();
  for (size_t size = 0; size < bytes.size(); size += size < 8192 ? 1 : 61) {
    AlignedBytes cut({bytes.data(), size});
    const auto file = parse(cut.bytes());
    ASSERT_FALSE(file) << size;
    ASSERT_EQ(file.status().code(), ErrorCode::kDamaged) << file.status().c_str();
  }
}

TEST(BundleDamage, BytesAfterTheEndAreRefused) {
  std::vector<std::byte> longer = small_bundle();
  longer.resize(longer.size() + 4096);
  AlignedBytes copy(longer);
  expect_contains(std::string(parse(copy.bytes()).status().message()), {"small.pets", "too long"});
}

TEST(BundleDamage, ADamagedTaskIsQuarantinedByFileTaskAndTensorAndTheOthersServe) {
  AlignedBytes copy(small_bundle());
  const Roots roots = roots_of(copy.bytes());
  const schema::Segment& segment = *directory_of(copy.bytes()).tasks()->Get(0);
  const schema::Tensor& bias = *roots.tasks[0]->operators()->Get(0)->body_as_Bias()->value();
  copy.bytes()[segment.offset() + bias.offset() + 5] ^= std::byte{4};
  const auto file = parse(copy.bytes());
  ASSERT_TRUE(file) << file.status().c_str();
  const auto tasks = (*file)->tasks();
  ASSERT_EQ(tasks.size(), 2U);
  EXPECT_EQ(tasks[0].status.code(), ErrorCode::kDamaged);
  EXPECT_EQ(tasks[0].task, nullptr);
  expect_contains(tasks[0].status.c_str(), {"small.pets", "task \"everything\"", "layer.0.attention.query:bias.value", "checksum"});
  EXPECT_TRUE(tasks[1].status) << tasks[1].status.c_str();
  EXPECT_EQ(tasks[1].name, "lora");
}

TEST(BundleDamage, DamagedIndicesAreNamedAsTheTensorThatHoldsThem) {
  AlignedBytes copy(small_bundle());
  const schema::Segment& segment = *directory_of(copy.bytes()).tasks()->Get(0);
  for (const schema::Operator* op : *roots_of(copy.bytes()).tasks[0]->operators()) {
    if (op->body_type() != schema::OperatorBody::Sparse) continue;
    std::memset(&copy.bytes()[segment.offset() + op->body_as_Sparse()->rows()->offset()], 0xFF, 2);
    break;
  }
  const auto file = parse(copy.bytes());
  ASSERT_TRUE(file);
  expect_contains((*file)->tasks()[0].status.c_str(), {"tensor layer.0.attention.query:sparse.rows is damaged"});
}

TEST(BundleDamage, ADamagedBaseRefusesTheFileAndNamesTheTensor) {
  AlignedBytes copy(small_bundle());
  const schema::Segment& segment = *directory_of(copy.bytes()).base();
  const schema::Tensor& weight = *roots_of(copy.bytes()).base->encoder()->Get(1)->down()->weight();
  copy.bytes()[segment.offset() + weight.offset()] ^= std::byte{1};
  const auto file = parse(copy.bytes());
  ASSERT_FALSE(file);
  EXPECT_EQ(file.status().code(), ErrorCode::kDamaged);
  expect_contains(file.status().c_str(), {"small.pets: base", "layer.1.ffn.down.weight"});
}

TEST(BundleDamage, DamagedPaddingIsNoticedToo) {
  AlignedBytes copy(small_bundle());
  copy.bytes().back() ^= std::byte{1};
  const auto file = parse(copy.bytes());
  ASSERT_TRUE(file);
  EXPECT_TRUE((*file)->tasks()[0].status);
  expect_contains((*file)->tasks()[1].status.c_str(), {"task \"lora\"", "checksum does not match", "padding"});
}

TEST(BundleDamage, StructureAloneDoesNotReadThePayloadsChecksums) {
  AlignedBytes copy(small_bundle());
  copy.bytes().back() ^= std::byte{1};
  const auto file = parse(copy.bytes(), bundle::Verification::kStructure);
  ASSERT_TRUE(file);
  EXPECT_TRUE((*file)->tasks()[1].status);
}

TEST(BundleDamage, WrongMagicIsNoBundle) {
  AlignedBytes copy(small_bundle());
  copy.bytes()[0] = std::byte{'Q'};
  expect_contains(parse(copy.bytes()).status().c_str(), {"small.pets", "not a pets bundle"});
  AlignedBytes nothing({});
  expect_contains(parse(nothing.bytes()).status().c_str(), {"small.pets", "not a pets bundle"});
}

TEST(BundleDamage, AFutureVersionIsNamedWithTheNewestThatIsKnown) {
  ChangedBundle bundle;
  const uint32_t version = schema::kFormatVersion + 41;
  std::memcpy(&bundle.bytes()[offsetof(schema::FileHeader, version)], &version, sizeof version);
  const auto file = bundle.open();
  ASSERT_FALSE(file);
  EXPECT_EQ(file.status().code(), ErrorCode::kUnsupported);
  expect_contains(file.status().c_str(), {"version 42", "up to 1", "newer pets"});
}

TEST(BundleDamage, AFileThatIsNotThereOrNoFileIsNamed) {
  EXPECT_EQ(bundle::BundleFile::open("/nowhere/at/all.pets", false).status().code(), ErrorCode::kNotFound);
  expect_contains(bundle::BundleFile::open("/nowhere/at/all.pets", false).status().c_str(), {"/nowhere/at/all.pets"});
  EXPECT_FALSE(bundle::BundleFile::open("/", false));
  EXPECT_FALSE(bundle::BundleFile::open("/dev/null", true));
}

}  // namespace
}  // namespace pets::bundle_test
