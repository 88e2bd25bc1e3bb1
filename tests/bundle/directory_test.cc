// Headers and directories that lie, with checksums that hold.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/bundle/fixture.h"

#include "schema/bundle_format.h"

namespace pets::bundle_test {
namespace {

using schema::FileHeader;
using schema::Segment;

template <typename T>
void set_header(ChangedBundle& bundle, size_t offset, T value) {
  std::memcpy(&bundle.bytes()[offset], &value, sizeof value);
}

constexpr uint64_t kHuge[] = {UINT64_MAX, UINT64_MAX - 63, UINT64_MAX - 4095, uint64_t{1} << 63, uint64_t{1} << 40};

TEST(BundleDirectory, TheUnchangedBundleIsAccepted) {
  ChangedBundle bundle;
  EXPECT_EQ(bundle.refusal(), "");
  EXPECT_EQ(bundle.quarantine(), "");
}

TEST(BundleDirectory, HeaderOffsetsThatOverflowAreRefused) {
  for (const uint64_t value : kHuge) {
    ChangedBundle offset, length, size;
    set_header(offset, offsetof(FileHeader, directory_offset), value);
    EXPECT_NE(offset.refusal(), "") << value;
    set_header(length, offsetof(FileHeader, directory_length), value);
    EXPECT_NE(length.refusal(), "") << value;
    set_header(size, offsetof(FileHeader, file_size), value);
    EXPECT_NE(size.refusal(), "") << value;
  }
}

TEST(BundleDirectory, HeaderFieldsThatThisVersionDoesNotHaveAreRefused) {
  ChangedBundle reserved, header_size, version;
  set_header(reserved, offsetof(FileHeader, reserved), uint64_t{1});
  EXPECT_NE(reserved.refusal(), "");
  set_header(header_size, offsetof(FileHeader, header_size), uint32_t{128});
  EXPECT_NE(header_size.refusal(), "");
  set_header(version, offsetof(FileHeader, version), uint32_t{0});
  EXPECT_NE(version.refusal(), "");
}

TEST(BundleDirectory, ADirectoryOverTheHeaderOrOffItsAlignmentIsRefused) {
  for (const uint64_t value : {uint64_t{0}, uint64_t{8}, uint64_t{65}, uint64_t{72}}) {
    ChangedBundle bundle;
    set_header(bundle, offsetof(FileHeader, directory_offset), value);
    EXPECT_NE(bundle.refusal(), "") << value;
  }
  ChangedBundle empty;
  set_header(empty, offsetof(FileHeader, directory_length), uint64_t{0});
  expect_contains(empty.refusal(), {"directory"});
}

TEST(BundleDirectory, SegmentsBeyondTheFileAreRefused) {
  for (const uint64_t value : kHuge) {
    ChangedBundle base_offset, task_offset, length, metadata;
    set_field(base_offset.directory().base(), Segment::VT_OFFSET, value);
    expect_contains(base_offset.refusal(), {"base", "does not lie inside"});
    set_field(task_offset.directory().tasks()->Get(1), Segment::VT_OFFSET, value);
    expect_contains(task_offset.refusal(), {"task \"lora\"", "does not lie inside"});
    set_field(length.directory().tasks()->Get(0), Segment::VT_LENGTH, value);
    EXPECT_NE(length.refusal(), "");
    set_field(metadata.directory().tasks()->Get(0), Segment::VT_METADATA_LENGTH, value);
    EXPECT_NE(metadata.refusal(), "");
  }
}

TEST(BundleDirectory, SegmentsOffTheirPagesOrOverTheDirectoryAreRefused) {
  ChangedBundle unaligned, low;
  const Segment* task = unaligned.directory().tasks()->Get(0);
  set_field<uint64_t>(task, Segment::VT_OFFSET, task->offset() + 64);
  EXPECT_NE(unaligned.refusal(), "");
  set_field<uint64_t>(low.directory().base(), Segment::VT_OFFSET, 0);
  EXPECT_NE(low.refusal(), "");
}

TEST(BundleDirectory, OverlappingSegmentsAreRefused) {
  ChangedBundle bundle;
  const auto& tasks = *bundle.directory().tasks();
  set_field<uint64_t>(tasks.Get(1), Segment::VT_OFFSET, tasks.Get(0)->offset());
  expect_contains(bundle.refusal(), {"overlap"});
}

TEST(BundleDirectory, TwoTasksOfOneNameAreRefused) {
  std::vector<converter::PetTask> tasks = small_tasks();
  tasks[1].name = tasks[0].name;
  ChangedBundle bundle(bundle_bytes(small_base(), tasks));
  expect_contains(bundle.refusal(), {"small.pets", "two tasks", "\"everything\""});
}

TEST(BundleDirectory, NamesThatWouldBreakALineAreRefused) {
  for (const std::string& name : {std::string(), std::string("a\nb"), std::string("a\xFF"), std::string(257, 'x'), std::string("\x7F")}) {
    std::vector<converter::PetTask> tasks = small_tasks();
    tasks[0].name = name;
    ChangedBundle bundle(bundle_bytes(small_base(), tasks));
    expect_contains(bundle.refusal(), {"task 0 has no valid name"});
  }
}

TEST(BundleDirectory, ASegmentThatHoldsAnotherTaskIsQuarantined) {
  ChangedBundle bundle;
  const auto& tasks = *bundle.directory().tasks();
  const uint64_t first = tasks.Get(0)->offset(), first_length = tasks.Get(0)->length(), first_metadata = tasks.Get(0)->metadata_length();
  set_field(tasks.Get(0), Segment::VT_OFFSET, tasks.Get(1)->offset());
  set_field(tasks.Get(0), Segment::VT_LENGTH, tasks.Get(1)->length());
  set_field(tasks.Get(0), Segment::VT_METADATA_LENGTH, tasks.Get(1)->metadata_length());
  set_field(tasks.Get(1), Segment::VT_OFFSET, first);
  set_field(tasks.Get(1), Segment::VT_LENGTH, first_length);
  set_field(tasks.Get(1), Segment::VT_METADATA_LENGTH, first_metadata);
  const auto file = bundle.open();
  ASSERT_TRUE(file) << file.status().c_str();
  expect_contains((*file)->tasks()[0].status.c_str(), {"another task", "lora"});
  expect_contains((*file)->tasks()[1].status.c_str(), {"another task", "everything"});
}

TEST(BundleDirectory, AFingerprintThatIsNoneIsRefused) {
  converter::BaseModel base = small_base();
  for (const char* text : {"", "0123", "0123456789ABCDEF0123456789ABCDEF", "g123456789abcdef0123456789abcdef"}) {
    base.fingerprint = text;
    ChangedBundle bundle(bundle_bytes(base, {}));
    expect_contains(bundle.refusal(), {"fingerprint"});
  }
}

TEST(BundleDirectory, UnalignedBytesAreTheCallersMistake) {
  ChangedBundle bundle;
  EXPECT_EQ(parse(bundle.bytes().subspan(1)).status().code(), ErrorCode::kInvalidArgument);
}

TEST(BundleDirectory, AFlatBufferThatIsNoneIsRefused) {
  ChangedBundle directory, base, task;
  std::memset(&directory.bytes()[sizeof(FileHeader)], 0xEE, 8);
  expect_contains(directory.refusal(), {"not a valid FlatBuffer"});
  std::memset(&base.bytes()[base.directory().base()->offset()], 0xEE, 8);
  expect_contains(base.refusal(), {"base", "not a valid FlatBuffer"});
  std::memset(&task.bytes()[task.directory().tasks()->Get(0)->offset()], 0xEE, 8);
  expect_contains(task.quarantine(), {"task \"everything\"", "not a valid FlatBuffer"});
}

}  // namespace
}  // namespace pets::bundle_test
