// A device that fails, as only the emulated one does when it is told to.
#include <gtest/gtest.h>

#include "tests/engine/cuda_mix.h"

#include "pets/pets.h"
#include "runtime/cuda/emulation/failure.h"

namespace pets {
namespace {

using cuda_mix::Mix;

class CudaFailure : public testing::TestWithParam<uint32_t> {
 protected:
  CudaFailure() : mix_(5), file_("cuda_failure.pets") { testing_util::write_random_bundle(file_.path(), mix_.base, mix_.tasks); }
  Mix mix_;
  testing_util::TemporaryFile file_;
};

TEST_P(CudaFailure, IsReportedRefusesFurtherWorkAndANewModelServes) {
  const auto queries = mix_.queries(2 * mix_.tasks.size(), 6);
  auto session = session_of(file_.path(), Backend::kCuda);
  ASSERT_NE(session, nullptr);
  const auto expected = run_all(*session, queries);
  cuda::emulation::fail_after(GetParam());
  for (int time = 0; time < 2; ++time) {  // the second time nothing is tried
    size_t failed = 0;
    ASSERT_TRUE(session->run(queries, [&](size_t, const Answer& answer) {
      EXPECT_EQ(answer.status.code(), ErrorCode::kInternal);
      EXPECT_EQ(answer.status.message(), "cuda: the work on the device: an emulated failure (700)");
      ++failed;
    }));
    EXPECT_EQ(failed, queries.size());
  }
  auto next = session_of(file_.path(), Backend::kCuda);
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(run_all(*next, queries), expected);
  ASSERT_TRUE(session->run(
      queries, [&](size_t, const Answer& answer) { EXPECT_EQ(answer.status.code(), ErrorCode::kInternal) << "the old one stays"; }));
}

TEST_P(CudaFailure, IsToldToEveryQueryOfAServer) {
  const auto model = model_of(file_.path(), Backend::kCuda);
  ASSERT_NE(model, nullptr);
  ServerOptions options;
  options.fit_seconds = 0;
  auto server = Server::create(model, options);
  ASSERT_TRUE(server) << server.status().c_str();
  const auto queries = mix_.queries(3 * mix_.tasks.size(), 6);
  cuda::emulation::fail_after(GetParam());
  std::vector<std::future<OwnedAnswer>> futures;
  for (const Query& query : queries) futures.push_back((*server)->submit(query));
  for (auto& future : futures) EXPECT_EQ(future.get().status.code(), ErrorCode::kInternal);
  server->reset();
  cuda::emulation::fail_after(UINT32_MAX);
}

// At once, among a batch's products, and at its end.
INSTANTIATE_TEST_SUITE_P(AfterOperations, CudaFailure, testing::Values(0U, 1U, 5U));

}  // namespace
}  // namespace pets
