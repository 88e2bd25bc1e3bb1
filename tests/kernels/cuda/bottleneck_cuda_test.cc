#include "kernels/bottleneck/bottleneck_cuda.h"

#include <memory>

#include "tests/kernels/cuda/bounded.h"

namespace pets::kernels::cuda {
namespace {

constexpr float kEpsilon = 1e-12F, kAdapterEpsilon = 1e-5F;

/// Parameters on the device, and as a reference reads them.
struct Parameters {
  explicit Parameters(std::vector<float> values_) : values(std::move(values_)), device(values) {}
  BoundedRow row() const { return exact(values.data(), values.size()); }
  std::vector<float> values;
  DeviceArray<float> device;
};
template <class T>
struct Weights {
  explicit Weights(std::vector<float> values_) : values(std::move(values_)), device(rounded<T>(values)) {}
  std::vector<float> values;
  DeviceArray<T> device;
};
struct Norm {
  Norm(Random& random, size_t hidden, float epsilon_)
      : gamma(random.floats(hidden, 1, 0.3F)), beta(random.floats(hidden)), epsilon(epsilon_) {}
  BoundedRow operator()(const BoundedRow& x) const { return layer_norm(x, gamma.row(), beta.row(), double{epsilon}); }
  Parameters gamma, beta;
  float epsilon;
};

/// What a task has at the site; absent parts are null. Without `down`, there is no bottleneck.
template <class T>
struct Task {
  uint32_t inner = 0;
  Bottleneck options;  // all but its pointers
  std::unique_ptr<Weights<T>> down, up;
  std::unique_ptr<Parameters> down_bias, up_bias, channels, bias, scale_output;
  std::unique_ptr<Norm> norm_before, norm_after, norm;

  TaskLinear linear() const {
    TaskLinear result;
    if (bias) result.bias = bias->device.data();
    if (scale_output) result.scale_output = scale_output->device.data();
    return result;
  }
  TaskBottleneck bottleneck() const {
    TaskBottleneck result;
    if (!down) return result;
    const auto on_device = [](const std::unique_ptr<Norm>& from) {
      return from ? NormParameters{from->gamma.device.data(), from->beta.device.data(), from->epsilon} : NormParameters{};
    };
    result.down = down->device.data();
    result.up = up->device.data();
    result.inner = inner;
    result.options = options;
    if (down_bias) result.options.down_bias = down_bias->device.data();
    if (up_bias) result.options.up_bias = up_bias->device.data();
    if (channels) result.options.channel_scaling = channels->device.data();
    result.options.norm_before = on_device(norm_before);
    result.options.norm_after = on_device(norm_after);
    return result;
  }
};

/// The formula of bottleneck/bottleneck.h. `site_norm`: N.
template <class T>
BoundedRow reference(const Task<T>& task, const Norm& site_norm, const BoundedRow& h, const BoundedRow& r) {
  const Bottleneck& options = task.options;
  const auto normalized = [](const std::unique_ptr<Norm>& norm, const BoundedRow& x) { return norm ? (*norm)(x) : x; };

  const BoundedRow u = options.parallel ? r : options.original_norm_before ? site_norm(h + r) : h;
  const BoundedRow d = options.residual_before_norm == ResidualBeforeNorm::kBase      ? h
                       : options.residual_before_norm == ResidualBeforeNorm::kPostAdd ? h + r
                                                                                      : u;
  BoundedRow inner = product(task.down->values, rounded_to<T>(normalized(task.norm_before, u)));
  if (task.down_bias) inner = inner + task.down_bias->row();
  for (Bounded& x : inner) x = activated(options.activation, x);
  BoundedRow a = product(task.up->values, rounded_to<T>(inner));
  if (task.up_bias) a = a + task.up_bias->row();
  a = a * (task.channels ? task.channels->row() : BoundedRow(a.size(), {options.scaling}));

  const BoundedRow o = options.parallel                       ? h + normalized(task.norm_after, a)
                       : options.adapter_residual_before_norm ? normalized(task.norm_after, a + d)
                                                              : normalized(task.norm_after, a) + d;
  return options.original_norm_after ? site_norm(o + r) : o;
}

template <class T>
class BottleneckCuda : public ::testing::Test {
 protected:
  /// Weights such that all values are about 1. `options` counts through everything that changes the formula.
  static constexpr uint32_t kOptions = 384;
  static Task<T> random_task(Random& random, uint32_t hidden, uint32_t inner, uint32_t options) {
    Task<T> task;
    const auto choose = [&options](uint32_t count) { return std::exchange(options, options / count) % count; };
    const auto floats = [&random](size_t count, float mean) { return std::make_unique<Parameters>(random.floats(count, mean)); };
    task.inner = inner;
    task.down = std::make_unique<Weights<T>>(random.floats(size_t{inner} * hidden, 0, 1 / std::sqrt(static_cast<float>(hidden))));
    task.up = std::make_unique<Weights<T>>(random.floats(size_t{hidden} * inner, 0, 1 / std::sqrt(static_cast<float>(inner))));
    task.options.parallel = choose(2) != 0;
    task.options.original_norm_before = choose(2) != 0;
    task.options.original_norm_after = choose(2) != 0;
    task.options.adapter_residual_before_norm = choose(2) != 0;
    task.options.residual_before_norm = static_cast<ResidualBeforeNorm>(choose(3));
    if (choose(2) != 0) task.norm_before = std::make_unique<Norm>(random, hidden, kAdapterEpsilon);
    if (choose(2) != 0) task.norm_after = std::make_unique<Norm>(random, hidden, kAdapterEpsilon);
    task.options.scaling = 0.7F;
    if (choose(2) != 0) task.channels = floats(hidden, 1);
    task.options.activation = static_cast<Activation>(random.below(kActivations));
    if (random.below(4) != 0) task.down_bias = floats(inner, 0);
    if (random.below(4) != 0) task.up_bias = floats(hidden, 0);
    if (random.below(2) != 0) task.bias = floats(hidden, 0);
    if (random.below(2) != 0) task.scale_output = floats(hidden, 1);
    if (random.below(2) != 0) task.norm = std::make_unique<Norm>(random, hidden, kEpsilon);
    return task;
  }

  /// One tile a task, of 1, 7 or 16 rows. Between the tiles, and at the end under a tile beyond the count, lie rows that are nobody's.
  void expect_formula(Random& random, uint32_t hidden, const std::vector<Task<T>>& tasks) {
    constexpr uint16_t kTileRows[] = {7, 16, 1};
    std::vector<RowTile> tiles;
    std::vector<const Task<T>*> owners;  // of each row
    uint32_t most_inner = 0;
    for (uint16_t slot = 0; slot < tasks.size(); ++slot) {
      const uint16_t rows = kTileRows[slot % 3];
      tiles.push_back({static_cast<uint32_t>(owners.size()), rows, slot});
      owners.insert(owners.end(), rows, &tasks[slot]);
      owners.push_back(nullptr);
      most_inner = std::max(most_inner, tasks[slot].inner);
    }
    tiles.push_back({static_cast<uint32_t>(owners.size()) - 1, 1, 0});

    // The operators of this site lie between those of others.
    std::vector<TaskLinear> linears;
    std::vector<TaskNorm> norms;
    std::vector<TaskBottleneck> bottlenecks;
    for (const Task<T>& task : tasks) {
      linears.insert(linears.end(), {task.linear(), TaskLinear()});
      norms.insert(norms.end(), {TaskNorm(), TaskNorm(),
                                 task.norm ? TaskNorm{task.norm->gamma.device.data(), task.norm->beta.device.data()} : TaskNorm()});
      bottlenecks.insert(bottlenecks.end(), {TaskBottleneck(), task.bottleneck()});
    }

    const size_t rows = owners.size();
    const Weights<T> dense(random.floats(rows * hidden)), residual(random.floats(rows * hidden));
    const Parameters bias(random.floats(hidden));
    const Norm norm(random, hidden, kEpsilon);
    const DeviceArray<RowTile> d_tiles(tiles);
    const DeviceArray<uint32_t> d_count({static_cast<uint32_t>(tasks.size())});
    const DeviceArray<TaskLinear> d_linears(linears);
    const DeviceArray<TaskNorm> d_norms(norms);
    const DeviceArray<TaskBottleneck> d_bottlenecks(bottlenecks);

    BottleneckSite<T> call;
    call.dense = dense.device.data();
    call.residual = residual.device.data();
    call.hidden = hidden;
    call.epsilon = kEpsilon;
    call.bias = bias.device.data();
    call.norm = {norm.gamma.device.data(), norm.beta.device.data()};
    call.tiles = {d_tiles.data(), d_count.data(), static_cast<uint32_t>(tiles.size()) + 1};
    call.linears = {d_linears.data(), 2};
    call.norms = {d_norms.data() + 2, 3};
    call.bottlenecks = {d_bottlenecks.data() + 1, 2};
    call.most_inner = most_inner;
    bottleneck(Stream{}, call);

    const std::vector<T> found = residual.device.read();
    for (size_t row = 0; row < rows; ++row) {
      const Task<T>* const task = owners[row];
      const BoundedRow r = exact(residual.values.data() + row * hidden, hidden);
      const bool changed = task != nullptr && task->down;
      BoundedRow expected = r;
      if (changed) {
        const BoundedRow product = exact(dense.values.data() + row * hidden, hidden);
        const BoundedRow scaled = task->scale_output ? product * task->scale_output->row() : product;
        expected = reference(*task, task->norm ? *task->norm : norm, scaled + (task->bias ? task->bias->row() : bias.row()), r);
      }
      for (uint32_t i = 0; i < hidden; ++i) {
        if (changed) {
          expect_rounded(found[row * hidden + i], expected[i]);
        } else {
          EXPECT_EQ(as_float(found[row * hidden + i]), residual.values[row * hidden + i]);
        }
      }
      ASSERT_FALSE(this->HasFailure()) << "row " << row << " of " << (task != nullptr ? task - tasks.data() : -1);
    }
  }
};
TYPED_TEST_SUITE(BottleneckCuda, ActivationTypes);

TYPED_TEST(BottleneckCuda, EqualsItsFormulaForEveryOption) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  Random random(seed);
  std::vector<Task<TypeParam>> tasks;
  for (uint32_t options = 0; options < this->kOptions; ++options) tasks.push_back(this->random_task(random, 48, 16, options));
  this->expect_formula(random, 48, tasks);
}

// Inner widths with a part of a group of columns, more than one group, and depths that do not divide among the warps; rows of one and of
// several vectors a lane; tasks without a bottleneck among the others.
TYPED_TEST(BottleneckCuda, EqualsItsFormulaForEverySize) {
  for (const uint32_t hidden : {16U, 64U, 96U, 384U, 528U, 768U, 784U, 1024U}) {
    const uint64_t seed = std::random_device()();
    SCOPED_TRACE(::testing::Message() << "hidden " << hidden << " seed " << seed);
    Random random(seed);
    std::vector<Task<TypeParam>> tasks;
    const std::vector<uint32_t> inners = hidden > 384 ? std::vector<uint32_t>{16, 64, 80} : std::vector<uint32_t>{32, 16, 48, 80, 144};
    for (const uint32_t inner : inners) {
      tasks.push_back(this->random_task(random, hidden, inner, random.below(this->kOptions)));
      tasks.emplace_back();
    }
    this->expect_formula(random, hidden, tasks);
  }
}

// Each row is the same to the bit whatever other rows are in its tile, and wherever it is in it.
TYPED_TEST(BottleneckCuda, RowsDoNotDependOnTheirTile) {
  constexpr uint32_t kRows = 16, kHidden = 80, kInner = 48;
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  Random random(seed);
  const Task<TypeParam> task = this->random_task(random, kHidden, kInner, random.below(this->kOptions));
  const Weights<TypeParam> dense(random.floats(kRows * kHidden));
  const std::vector<float> residual = random.floats(kRows * kHidden);
  const Parameters bias(random.floats(kHidden));
  const Norm norm(random, kHidden, kEpsilon);
  const DeviceArray<TaskLinear> linears({task.linear()});
  const DeviceArray<TaskNorm> norms({TaskNorm()});
  const DeviceArray<TaskBottleneck> bottlenecks({task.bottleneck()});
  std::vector<std::vector<TypeParam>> found;
  for (const std::vector<RowTile>& tiles : std::vector<std::vector<RowTile>>{{{0, 16, 0}}, {{0, 1, 0}, {1, 7, 0}, {8, 8, 0}}}) {
    const Weights<TypeParam> result(residual);
    const DeviceArray<RowTile> d_tiles(tiles);
    BottleneckSite<TypeParam> call;
    call.dense = dense.device.data();
    call.residual = result.device.data();
    call.hidden = kHidden;
    call.epsilon = kEpsilon;
    call.bias = bias.device.data();
    call.norm = {norm.gamma.device.data(), norm.beta.device.data()};
    call.tiles = {d_tiles.data(), nullptr, static_cast<uint32_t>(tiles.size())};
    call.linears = {linears.data(), 1};
    call.norms = {norms.data(), 1};
    call.bottlenecks = {bottlenecks.data(), 1};
    call.most_inner = kInner;
    bottleneck(Stream{}, call);
    found.push_back(result.device.read());
  }
  for (uint32_t i = 0; i < kRows * kHidden; ++i) ASSERT_EQ(as_float(found[0][i]), as_float(found[1][i])) << i;
}

TYPED_TEST(BottleneckCuda, NoTiles) {
  const DeviceArray<uint32_t> count({0});
  BottleneckSite<TypeParam> call;
  call.hidden = 48;
  call.most_inner = 16;
  call.tiles = {nullptr, count.data(), 2};
  bottleneck(Stream{}, call);
}

}  // namespace
}  // namespace pets::kernels::cuda
