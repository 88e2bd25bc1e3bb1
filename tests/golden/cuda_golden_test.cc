// The CUDA backend against the Python libraries' own answers: every task of the tiny bases whose shapes its tiles take.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "tests/testing_util/random_model.h"

#include "converter/check/expected_file.h"
#include "converter/check/model_runner.h"
#include "pets/pets.h"
#if defined(PETS_EMULATED_CUDA)
#include "runtime/cuda/emulation/emulated_host.h"
#endif

namespace pets {
namespace {

struct Case {
  const char* base;
  const char* precision;
  double tolerance;  ///< of a task's largest logit
  const char* target = "cpu";
};
void PrintTo(const Case& value, std::ostream* to) { *to << value.base << " " << value.precision << " for " << value.target; }

/// Where something is on this machine, which may not be the one that built the test.
std::string place(const char* variable, const char* built) {
  const char* named = std::getenv(variable);
  return named != nullptr ? named : built;
}

class CudaGolden : public testing::TestWithParam<Case> {};

TEST_P(CudaGolden, LogitsAreThoseOfThePythonLibraries) {
  const std::string golden = place("PETS_GOLDEN", PETS_GOLDEN_DIR), base = GetParam().base;
  const std::string target = GetParam().target;
  const testing_util::TemporaryFile bundle("cuda_golden_" + base + "_" + GetParam().precision + "_" + target + ".pets");
  const std::string pack = place("PETS_CONVERT", PETS_CONVERT_PROGRAM) + " pack " + golden + "/manifests/" + base + ".yaml -o " +
                           bundle.path() + " --precision " + GetParam().precision + " --target " + target + " 2>/dev/null";
  ASSERT_EQ(std::system(pack.c_str()), 0) << pack;
  ModelOptions options;
  options.backend = Backend::kCuda;
#if defined(PETS_EMULATED_CUDA)
  cuda::emulated_host().access = {.integrated = true, .pageable = true};  // a Thor: what was packed for it is read in place
#endif
  auto model = Model::load(bundle.c_str(), options);
  ASSERT_TRUE(model) << model.status().c_str();
  auto session = Session::create(*model, {});
  ASSERT_TRUE(session) << session.status().c_str();

  std::vector<converter::ExpectedLine> lines;
  ASSERT_TRUE(converter::read_expected(golden + "/expected/" + base + ".jsonl", [&](Result<converter::ExpectedLine> line) {
    if (!line) return line.status();
    lines.push_back(std::move(line).value());
    return Status::ok();
  }));
  std::vector<Query> queries;
  for (const auto& line : lines) queries.push_back(converter::query_of(line.task, line.query));
  std::map<std::string, std::pair<double, double>> tasks;  // largest logit, largest difference
  ASSERT_TRUE((*session)->run(queries, [&](size_t index, const Answer& answer) {
    const auto& line = lines[index];
    ASSERT_TRUE(answer.status) << line.task << ": " << answer.status.c_str();
    ASSERT_EQ(answer.logits.size(), line.logits.size()) << line.task;
    auto& [largest, difference] = tasks[line.task];
    for (size_t i = 0; i < line.logits.size(); ++i) {
      largest = std::max(largest, std::abs(line.logits[i]));
      difference = std::max(difference, std::abs(line.logits[i] - double{answer.logits[i]}));
    }
  }));
  ASSERT_GE(tasks.size(), 3U);
  double worst = 0;
  for (const auto& [task, values] : tasks) {
    const double relative = values.second / std::max(values.first, 1e-6);
    EXPECT_LE(relative, GetParam().tolerance) << task;
    worst = std::max(worst, relative);
  }
  std::printf("%s %s: %zu tasks, largest difference %.2e\n", base.c_str(), GetParam().precision, tasks.size(), worst);
}

// float32: what the CPU is held to. Reduced: what two right answers of one precision may be apart (docs/decisions.md 12), since here
// activations are rounded, too.
constexpr Case kCases[] = {
#if !defined(PETS_SLOW_BUILD)  // 138 tasks, of kinds that the others have, too: a minute there
    {"tiny48", "fp32", 1e-5},
#endif
    {"tiny48-extra", "fp32", 1e-5}, {"tiny48c", "fp32", 1e-5},        {"tiny48c-extra", "fp32", 1e-5},  {"tiny48old", "fp32", 1e-5},
    {"tiny64", "fp32", 1e-5},       {"tiny64r", "fp32", 1e-5},        {"tiny64", "fp16", 0.02},         {"tiny64", "bf16", 0.05},
    {"tiny64", "int8", 0.3},        {"tiny64", "fp32", 1e-5, "cuda"}, {"tiny64", "fp16", 0.02, "cuda"}, {"tiny64", "int8", 0.3, "cuda"}};

INSTANTIATE_TEST_SUITE_P(TinyBases, CudaGolden, testing::ValuesIn(kCases), [](const auto& test) {
  std::string name = std::string(test.param.base) + "_" + test.param.precision + "_" + test.param.target;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace pets
