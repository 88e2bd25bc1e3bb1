// Bundles that earlier versions of pets-convert wrote: they must open for ever. See old/README.md.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/bundle/fixture.h"

namespace pets::bundle_test {
namespace {

TEST(OldBundles, AllStillOpenWithEveryTask) {
  size_t found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(PETS_OLD_BUNDLES)) {
    if (entry.path().extension() != ".pets") continue;
    ++found;
    const auto file = bundle::BundleFile::open(entry.path().c_str(), false);
    ASSERT_TRUE(file) << file.status().c_str();
    EXPECT_TRUE((*file)->has_base());
    EXPECT_FALSE((*file)->tasks().empty());
    for (const bundle::TaskSegment& task : (*file)->tasks()) EXPECT_TRUE(task.status) << task.status.c_str();
  }
  EXPECT_GE(found, 1U);
}

}  // namespace
}  // namespace pets::bundle_test
