// Delta bundles: tasks alone, bound to a base by its fingerprint.
#include <gtest/gtest.h>

#include "tests/bundle/fixture.h"

namespace pets::bundle_test {
namespace {

bundle::Dimensions small_dimensions() {
  const auto& base = small_base();
  return {base.hidden, base.layers, base.heads, base.intermediate, base.vocabulary, base.positions, base.token_types, true};
}

TEST(DeltaBundle, OpensAgainstItsBase) {
  AlignedBytes bytes(delta_bytes(small_base(), small_tasks()));
  const bundle::Dimensions dimensions = small_dimensions();
  const auto file = parse(bytes.bytes(), bundle::Verification::kFull, &dimensions);
  ASSERT_TRUE(file) << file.status().c_str();
  EXPECT_FALSE((*file)->has_base());
  EXPECT_EQ((*file)->base_fingerprint(), small_base().fingerprint);
  for (const auto& task : (*file)->tasks()) EXPECT_TRUE(task.status) << task.status.c_str();
}

TEST(DeltaBundle, OpensAloneWithItsOwnStructureChecked) {
  ChangedBundle bundle(delta_bytes(small_base(), small_tasks()));
  EXPECT_EQ(bundle.refusal(), "");
  EXPECT_EQ(bundle.quarantine(0), "");
  ChangedBundle damaged(delta_bytes(small_base(), small_tasks()));
  set_field<uint64_t>(damaged.roots().tasks[1]->operators()->Get(0)->body_as_LowRank()->a(), schema::Tensor::VT_OFFSET, UINT64_MAX - 63);
  expect_contains(damaged.quarantine(1), {"low_rank.a"});
}

TEST(DeltaBundle, TasksThatDoNotFitTheBaseGivenAreQuarantined) {
  AlignedBytes bytes(delta_bytes(small_base(), small_tasks()));
  bundle::Dimensions other = small_dimensions();
  other.intermediate = 48;
  const auto file = parse(bytes.bytes(), bundle::Verification::kFull, &other);
  ASSERT_TRUE(file);
  expect_contains((*file)->tasks()[1].status.c_str(), {"task \"lora\"", "layer.0.ffn.up", "48"});
}

TEST(DeltaBundle, AnEmptyOneOpens) {
  ChangedBundle bundle(delta_bytes(small_base(), {}));
  const auto file = bundle.open();
  ASSERT_TRUE(file) << file.status().c_str();
  EXPECT_TRUE((*file)->tasks().empty());
}

}  // namespace
}  // namespace pets::bundle_test
