#include <gtest/gtest.h>

#include "tests/bundle/fixture.h"

namespace pets::bundle_test {
namespace {

TEST(ManyTasks, AThousandTasksAreWrittenAndRead) {
  std::vector<converter::PetTask> tasks(1000, small_tasks()[1]);
  for (size_t i = 0; i < tasks.size(); ++i) tasks[i].name = "task-" + std::to_string(i);
  const testing_util::TemporaryFile path("thousand.pets");
  testing_util::write_random_bundle(path.path(), small_base(), tasks);
  for (const bool copy : {false, true}) {
    const auto file = bundle::BundleFile::open(path.c_str(), copy);
    ASSERT_TRUE(file) << file.status().c_str();
    ASSERT_EQ((*file)->tasks().size(), 1000U);
    for (size_t i = 0; i < 1000; ++i) {
      ASSERT_TRUE((*file)->tasks()[i].status) << (*file)->tasks()[i].status.c_str();
      ASSERT_EQ((*file)->tasks()[i].name, tasks[i].name);
    }
  }
}

/// Beyond 8 MiB the segments are hashed by several threads.
TEST(ManyTasks, DamageIsFoundInLargeFilesToo) {
  testing_util::ModelShape shape;
  shape.hidden = 192;
  shape.intermediate = 768;
#ifdef PETS_EMULATED
  shape.vocabulary = 8000;
  constexpr int kTasks = 20, kMebibytes = 8;
#else
  shape.vocabulary = 16000;
  constexpr int kTasks = 40, kMebibytes = 20;
#endif
  const converter::BaseModel base = testing_util::random_base(shape, 7);
  std::vector<converter::PetTask> tasks;
  for (int i = 0; i < kTasks; ++i) {
    tasks.push_back(testing_util::random_task(base, testing_util::PetKind::kLoraAll, converter::HeadType::kRegression,
                                              "task-" + std::to_string(i), static_cast<uint64_t>(i)));
  }
  AlignedBytes bytes(bundle_bytes(base, tasks));
  ASSERT_GT(bytes.bytes().size(), size_t{kMebibytes} << 20);
  const schema::Segment& victim = *directory_of(bytes.bytes()).tasks()->Get(17);
  bytes.bytes()[victim.offset() + victim.length() / 2] ^= std::byte{8};
  const auto file = parse(bytes.bytes());
  ASSERT_TRUE(file) << file.status().c_str();
  for (size_t i = 0; i < tasks.size(); ++i) EXPECT_EQ((*file)->tasks()[i].status.is_ok(), i != 17) << i;
}

}  // namespace
}  // namespace pets::bundle_test
