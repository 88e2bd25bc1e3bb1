// Bundles that earlier versions of pets-convert wrote: they must open and answer for ever. See old/README.md.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/bundle/fixture.h"

#include "pets/pets.h"

namespace pets::bundle_test {
namespace {

std::vector<std::string> old_bundles() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(PETS_OLD_BUNDLES)) {
    if (entry.path().extension() == ".pets") paths.push_back(entry.path().string());
  }
  return paths;
}

TEST(OldBundles, AreThere) { EXPECT_GE(old_bundles().size(), 1U); }

TEST(OldBundles, OpenWithEveryTask) {
  for (const std::string& path : old_bundles()) {
    const auto file = bundle::BundleFile::open(path.c_str(), false);
    ASSERT_TRUE(file) << file.status().c_str();
    EXPECT_TRUE((*file)->has_base());
    EXPECT_FALSE((*file)->tasks().empty());
    for (const bundle::TaskSegment& task : (*file)->tasks()) EXPECT_TRUE(task.status) << task.status.c_str();
  }
}

TEST(OldBundles, AnswerTheirGoldenQueries) {
  for (const std::string& path : old_bundles()) {
    auto model = Model::load(path.c_str());
    ASSERT_TRUE(model) << model.status().c_str();
    auto session = Session::create(*model, {.threads = 1});
    ASSERT_TRUE(session) << session.status().c_str();
    const auto checks = (*model)->self_check(**session);
    ASSERT_TRUE(checks) << checks.status().c_str();
    EXPECT_FALSE(checks->empty());
    for (const Model::SelfCheck& check : *checks) {
      EXPECT_TRUE(check.status) << path << ": " << check.task << ": " << check.status.c_str();
      EXPECT_GT(check.queries, 0U);
    }
  }
}

}  // namespace
}  // namespace pets::bundle_test
