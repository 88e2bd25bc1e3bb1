// The cost model: finds coefficients again from noisy points, never predicts less for more, follows the device.
#include "runtime/serving/cost_model.h"

#include <gtest/gtest.h>

#include "tests/serving/items.h"

namespace pets::serving {
namespace {

constexpr double kStart = 4e-4, kStrip = 1.1e-3, kQuery = 2e-5, kPair = 3e-9;

double true_alpha(uint32_t queries, uint32_t length) {
  const double rows = static_cast<double>(queries) * length;
  return kStart + kStrip * std::ceil(rows / 16) + kQuery * queries + kPair * rows * length;
}

std::vector<AlphaPoint> alpha_points(std::mt19937_64& random, double noise) {
  std::normal_distribution<double> error(1, noise);
  std::vector<AlphaPoint> points;
  for (uint32_t rows = 8; rows <= 2048; rows *= 2) {
    for (uint32_t length = 8; length <= std::min(rows, 512U); length *= 2) {
      const uint32_t queries = rows / length;
      points.push_back({queries, length, true_alpha(queries, length) * error(random)});
    }
  }
  return points;
}

double predicted(const CostModel& model, uint32_t queries, uint32_t length) {
  BatchShape shape;
  for (uint32_t i = 0; i < queries; ++i) shape.add(length);
  return model.alpha(shape);
}

TEST(CostModel, FindsAlphaAgainFromNoisyPoints) {
  std::mt19937_64 random(new_seed());
  for (int round = 0; round < 20; ++round) {
    const CostModel exact(alpha_points(random, 0), {}), noisy(alpha_points(random, 0.03), {});
    for (const auto& [queries, length] : {std::pair(1U, 16U), {3U, 50U}, {40U, 12U}, {2U, 400U}, {60U, 33U}, {200U, 8U}, {90U, 40U}}) {
      // Between measured sizes the curve is straight, strips are steps.
      ASSERT_NEAR(predicted(exact, queries, length) / true_alpha(queries, length), 1, 0.02) << queries << " x " << length;
      ASSERT_NEAR(predicted(noisy, queries, length) / true_alpha(queries, length), 1, 0.1) << queries << " x " << length;
    }
  }
}

TEST(CostModel, FindsBetaAgainFromNoisyPoints) {
  std::mt19937_64 random(new_seed());
  std::normal_distribution<double> error(0, 1);
  constexpr double kFixed = 5e-5, kFixedWork = 4e-10, kRow = 1e-6, kRowWork = 2e-11;
  const auto seconds = [&](double work, uint32_t rows) { return kFixed + kFixedWork * work + (kRow + kRowWork * work) * rows; };
  const double works[] = {3e4, 7e4, 6e5};
  for (const double noise : {0.0, 0.05}) {  // of what a whole batch takes
    for (int round = 0; round < 20; ++round) {
      std::vector<BetaPoint> points;
      for (const double work : works) {
        for (const uint32_t rows : {1U, 5U, 19U, 61U, 253U}) {
          const double measured = seconds(work, rows) + noise * error(random) * (1e-4 + 1e-5 * rows);
          points.push_back({OperatorFamily::kLowRank, work, rows, std::max(measured, 1e-9)});
        }
      }
      const CostModel model(alpha_points(random, 0), points);
      for (const double work : {3e4, 2e5, 6e5}) {
        TaskWork task;
        task[OperatorFamily::kLowRank] = work;
        for (const uint32_t rows : {1U, 10U, 100U, 1000U}) {
          const double expected = seconds(work, rows);
          ASSERT_NEAR(model.task_cost(task).seconds(rows), expected,
                      noise == 0 ? 1e-6 * expected : 0.25 * expected + 0.2 * (1e-4 + 1e-5 * rows))
              << work << " " << rows;
        }
      }
      TaskWork other;
      other[OperatorFamily::kMask] = 1e6;  // not measured
      EXPECT_EQ(model.task_cost(other).seconds(100), 0);
      EXPECT_EQ(model.task_cost({}).seconds(100), 0);
    }
  }
}

TEST(CostModel, ASmallDifferenceThatIsNoiseDoesNotRule) {
  std::mt19937_64 random(1);
  std::vector<BetaPoint> points;
  for (const double work : {1e5, 1e6}) {
    for (const uint32_t rows : {1U, 5U, 19U, 61U, 253U})
      points.push_back({OperatorFamily::kSparse, work, rows, 1e-9 * work + 1e-11 * work * rows});
  }
  points[1].seconds = 1e-9;  // what a negative difference is stored as
  const CostModel model(alpha_points(random, 0), points);
  TaskWork task;
  task[OperatorFamily::kSparse] = 1e6;
  EXPECT_NEAR(model.task_cost(task).seconds(100), 2e-3, 2e-4);
}

TEST(CostModel, MoreNeverCostsLess) {
  std::mt19937_64 random(new_seed());
  for (int round = 0; round < 30; ++round) {
    std::vector<BetaPoint> beta;
    std::uniform_real_distribution<double> any(1e-9, 1e-3);
    for (size_t f = 0; f < kOperatorFamilies; ++f) {
      for (int i = 0; i < 8; ++i) {
        beta.push_back({static_cast<OperatorFamily>(f), 1.0 + static_cast<double>(random() % 100000),
                        1 + static_cast<uint32_t>(random() % 300), any(random)});
      }
    }
    const CostModel model(alpha_points(random, 0.3), beta);
    double before = 0;
    for (uint32_t rows = 1; rows <= 8192; ++rows) {
      BatchShape shape;
      shape.rows = rows;
      shape.queries = 1;
      const double now = model.alpha(shape);
      ASSERT_GE(now, before) << rows;
      before = now;
    }
    ASSERT_GT(before, 0);
    BatchShape shape;
    shape.add(64);
    BatchShape more = shape;
    ++more.queries;
    EXPECT_GE(model.alpha(more), model.alpha(shape));
    more = shape;
    more.pairs *= 2;
    EXPECT_GE(model.alpha(more), model.alpha(shape));
    TaskWork little, much;
    for (double& work : little.work) work = 100;
    for (double& work : much.work) work = 200;
    for (const uint32_t rows : {1U, 100U}) EXPECT_GE(model.task_cost(much).seconds(rows), model.task_cost(little).seconds(rows));
    EXPECT_GE(model.task_cost(little).seconds(100), model.task_cost(little).seconds(99));
  }
}

TEST(CostModel, FewPointsAreEnough) {
  BatchShape shape;
  shape.add(100);
  EXPECT_EQ(CostModel().alpha(shape), 0);
  EXPECT_EQ(CostModel().best_rows(2048), 2048U);  // nothing is known: what the limit allows
  const AlphaPoint one[] = {{1, 16, 0.001}};
  EXPECT_NEAR(CostModel(one, {}).alpha(shape), 0.007, 1e-9);
  const AlphaPoint flat[] = {{1, 16, 0.001}, {1, 32, 0.002}, {4, 16, 0.004}, {8, 16, 0.004}};  // noise at the end
  BatchShape many;
  for (int i = 0; i < 64; ++i) many.add(16);
  EXPECT_GT(CostModel(flat, {}).alpha(many), 0.02);
  EXPECT_EQ(CostModel(flat, {}).best_rows(1), 1U);
}

TEST(CostModel, BestRowsAreTheFewestAtTheBestRate) {
  std::vector<AlphaPoint> points;
  for (uint32_t rows = 16; rows <= 2048; rows *= 2) points.push_back({rows / 16, 16, 1e-3 * (1 + rows / 16.0)});
  const CostModel model(points, {});
  EXPECT_EQ(model.best_rows(2048, 0.0), 2048U);
  const uint32_t rows = model.best_rows(2048, 0.05);
  EXPECT_GT(rows, 256U);
  EXPECT_LT(rows, 512U);
}

/// 0.5 ms and 0.6 ms a strip, with one measurement that was lucky, or a device on which large batches really are slow.
std::vector<AlphaPoint> points_with(uint32_t from_rows, uint32_t to_rows, double factor) {
  std::vector<AlphaPoint> points;
  for (uint32_t rows = 16; rows <= 4096; rows *= 2) {
    const double seconds = 5e-4 + 6e-4 * rows / 16.0;
    points.push_back({rows / 16, 16, seconds * (rows >= from_rows && rows <= to_rows ? factor : 1)});
  }
  return points;
}

TEST(CostModel, ALuckyMeasurementIsNotTheBestSize) {
  const CostModel model(points_with(512, 512, 0.965), {});
  EXPECT_GT(model.best_rows(4096), 768U);
  EXPECT_GT(2 * predicted(model, 32, 16), predicted(model, 64, 16));
  EXPECT_NEAR(predicted(model, 32, 16) / (5e-4 + 6e-4 * 32), 1, 0.02);
}

TEST(CostModel, AFallingRateIsBelievedWhereItIsNoNoise) {
  const CostModel model(points_with(1024, 4096, 1.25), {});
  EXPECT_LE(model.best_rows(4096), 512U);
  EXPECT_LT(2 * predicted(model, 32, 16), predicted(model, 64, 16));
}

TEST(CostModel, FollowsADeviceThatBecomesTwiceAsSlow) {
  std::mt19937_64 random(new_seed());
  std::normal_distribution<double> error(1, 0.03);
  CostModel model(alpha_points(random, 0), {});
  const double before = predicted(model, 16, 32);
  int batches = 0;
  for (; batches < 100 && predicted(model, 16, 32) < 1.9 * before; ++batches) {
    model.correct(512, predicted(model, 16, 32), 2 * before * error(random));
  }
  std::printf("within 5 %% after %d batches\n", batches);
  EXPECT_LT(batches, 30);
  for (int i = 0; i < 200; ++i) {
    model.correct(512, predicted(model, 16, 32), 2 * before * error(random));
    ASSERT_NEAR(predicted(model, 16, 32) / (2 * before), 1, 0.15);
  }
  EXPECT_EQ(model.correction(16), 1);  // of other sizes nothing is known
}

TEST(CostModel, OneOutlierMovesItLittle) {
  std::mt19937_64 random(1);
  CostModel model(alpha_points(random, 0), {});
  const double before = predicted(model, 16, 32);
  model.correct(512, before, 1000 * before);
  EXPECT_LT(predicted(model, 16, 32), 1.15 * before);
  for (int i = 0; i < 20; ++i) model.correct(512, predicted(model, 16, 32), before);
  EXPECT_NEAR(predicted(model, 16, 32) / before, 1, 0.02);
  for (const double bad : {0.0, -1.0, std::nan("")}) {
    const double now = model.correction(512);
    model.correct(512, bad, 1);
    model.correct(512, 1, bad);
    EXPECT_EQ(model.correction(512), now);
  }
}

}  // namespace
}  // namespace pets::serving
