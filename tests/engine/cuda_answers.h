// What the tests of the CUDA backend share: sessions on both backends, their answers, and how far these may be apart.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "converter/bundle/bundle_writer.h"
#include "pets/pets.h"

namespace pets {

using Logits = std::vector<std::vector<float>>;

/// Of all queries; one that fails is a failure of the test.
inline Logits run_all(Session& session, std::span<const Query> queries) {
  Logits logits(queries.size());
  EXPECT_TRUE(session.run(queries, [&](size_t index, const Answer& answer) {
    EXPECT_TRUE(answer.status) << answer.status.c_str();
    logits[index].assign(answer.logits.begin(), answer.logits.end());
  }));
  return logits;
}

/// Null, and a failure of the test, where there is none.
inline std::shared_ptr<Model> model_of(const std::string& path, Backend backend) {
  ModelOptions options;
  options.backend = backend;
  auto model = Model::load(path.c_str(), options);
  EXPECT_TRUE(model) << model.status().c_str();
  return model ? *model : nullptr;
}

/// The same of a session.
inline std::unique_ptr<Session> session_of(const std::string& path, Backend backend, const SessionOptions& options = {}) {
  auto model = model_of(path, backend);
  if (model == nullptr) return nullptr;
  auto session = Session::create(std::move(model), options);
  EXPECT_TRUE(session) << session.status().c_str();
  return session ? std::move(session).value() : nullptr;
}

inline constexpr double kLayerRoundings = 15;  ///< values that two layers round one after another and the CPU keeps in float

/// The root mean square of what so many roundings do to a value, as a part of it: each by a unit roundoff / sqrt(3) in the mean. float: the
/// same roundings, and sums of about 100 products in another order, 10 times as much. int8: activations are half. Both sides round the
/// inputs of all 12 linears to integers of a step that is 1/127 of a row's largest value, in the same way; but rows that differ by fp16's
/// roundings, however little that is, are rounded differently here and there, and what comes after differs by more. At most they are as
/// two independent roundings of 1/sqrt(12) of a step each. Of up to 100 normal values the largest is up to 3 deviations.
inline double cuda_noise(converter::Precision precision, double count = kLayerRoundings) {
  constexpr double kLinears = 12, kInt8Rounding = 3 / 127.0 / 3.46;
  const auto roundings = [&](double unit) { return std::sqrt(count / 3) * unit; };
  switch (precision) {
    case converter::Precision::kFloat32:
      return 10 * roundings(0x1p-24);
    case converter::Precision::kFloat16:
      return roundings(0x1p-11);
    case converter::Precision::kBFloat16:
      return roundings(0x1p-8);
    default:
      return std::hypot(std::sqrt(kLinears * 2) * kInt8Rounding, roundings(0x1p-11));
  }
}

/// Heads take differences of what was rounded: their errors are at most so many times the noise.
inline constexpr double kHeadErrors = 6;

}  // namespace pets
