// pets-bench profile: measures the latency table that pets-serve starts from.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <map>
#include <random>
#include <vector>

#include "benchmarks/end_to_end/experiments.h"
#include "benchmarks/end_to_end/profile_tasks.h"
#include "benchmarks/kernels/fma_peak.h"

#include "pets/pets.h"
#include "runtime/engine/session_impl.h"
#include "runtime/serving/latency_table.h"
#include "runtime/serving/task_work.h"

namespace pets::benchmarks {
namespace {

using engine::PreparedQuery;
using serving::BatchShape;
using serving::OperatorFamily;
using Steady = std::chrono::steady_clock;

double seconds_since(Steady::time_point start) { return std::chrono::duration<double>(Steady::now() - start).count(); }

double middle(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[(values.size() - 1) / 2];
}

/// What a batch takes: the lower quartile, since whatever else the machine does only adds. Where it does nothing else, the median.
double usual(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return seconds[(seconds.size() - 1) / 4];
}

/// Tokens a query where PET operators are measured.
constexpr uint32_t kBetaLength = 29;

/// A batch, and what it took each time.
struct Measured {
  std::vector<PreparedQuery> queries;
  std::vector<double> seconds;
  double weight = 1;  ///< how many times a round
};

struct AlphaBatch : Measured {
  uint32_t count = 0, length = 0;
};

/// `tasks` tasks of one kind with `rows` rows each, the rest of the batch is the unchanged task's.
struct BetaBatch : Measured {
  OperatorFamily family = OperatorFamily::kBias;
  double work = 0;
  uint32_t tasks = 0, rows = 0;
  std::vector<double> ratio;  ///< to the same batch without operators
};

struct BetaGroup {
  Measured unchanged;
  std::vector<BetaBatch> batches;
};

struct MixedBatch : Measured {
  BatchShape shape;
  std::map<const engine::Task*, uint32_t> rows;
  Measured unchanged;  ///< the same lengths without operators
};

class Profile {
 public:
  explicit Profile(const ProfileOptions& options) : options_(options) {}

  int run() {
    const auto start = Steady::now();
    if (const int status = load(); status != 0) return status;
    make_batches();
    const double loaded = seconds_since(start);
    const auto measuring = Steady::now();
    end_ = measuring + std::chrono::duration_cast<Steady::duration>(std::chrono::duration<double>(options_.seconds));
    uint32_t rounds = 0;
    for (; !enough_; ++rounds, first_round_ = false) {  // the last round may stop halfway
      measure_alpha();
      measure_beta();
      for (MixedBatch& batch : mixed_) {
        measure(batch);
        measure(batch.unchanged);
      }
      progress(rounds + 1, seconds_since(measuring));
    }
    const serving::LatencyTable table = make_table();
    if (const Status status = serving::write_latency_table(options_.output.c_str(), table); !status) return fail(status);
    fmt::print("{}: {} alpha and {} beta points, {} rounds in {:.0f} s (and {:.0f} s to make the tasks), {} {} {} {}, {} threads\n",
               options_.output, table.alpha.size(), table.beta.size(), rounds, seconds_since(measuring), loaded, table.key.device,
               table.key.isa, table.key.backend, table.key.precision, table.key.threads);
    report(serving::CostModel(table.alpha, table.beta), table);
    return 0;
  }

 private:
  static int fail(const Status& status) {
    fmt::print(stderr, "pets-bench profile: {}\n", status.c_str());
    return 1;
  }

  void progress(uint32_t rounds, double seconds) const {
    if (::isatty(STDERR_FILENO) == 1) fmt::print(stderr, "\rround {}: {:.0f} of {:.0f} s ", rounds, seconds, options_.seconds);
  }

  int load() {
    ModelOptions model_options;
    model_options.backend = options_.backend == "cuda" ? Backend::kCuda : Backend::kCpu;
    auto model = Model::load(options_.bundle.c_str(), model_options);
    if (!model) return fail(model.status());
    model_ = *model;
    Model::Impl& internals = model_->impl();
    const testing_util::TemporaryFile delta("profile-tasks.pets");
    write_profile_tasks(delta.path(), internals.base, internals.fingerprint);
    if (const Status status = model_->add_tasks(delta.c_str()); !status) return fail(status);
    internals.tasks.view([&](const engine::TaskSet& set) {
      for (const auto& task : set.tasks) tasks_[task->info.name] = task;
    });
    SessionOptions session_options;
    session_options.threads = options_.threads;
    session_options.max_batch_tokens = std::max(options_.max_batch_tokens, 256U);
    session_options.max_batch_queries = session_options.max_batch_tokens;
    auto session = Session::create(model_, session_options);
    if (!session) return fail(session.status());
    session_ = std::move(*session);
    positions_ = internals.base.positions;
    std::mt19937_64 random(1);
    ids_.resize(positions_);
    for (auto& token : ids_) token.id = static_cast<int32_t>(random() % internals.base.vocabulary);
    return 0;
  }

  const engine::Task* task(const std::string& name) const { return tasks_.at(name).get(); }

  PreparedQuery query(const engine::Task* task, uint32_t length) const {
    PreparedQuery query;
    query.task = task;
    query.tokens = std::span(ids_).first(length);
    return query;
  }

  /// Queries of `task` with that many rows together, of `length` tokens but for the last.
  void add_rows(const engine::Task* task, uint32_t rows, uint32_t length, std::vector<PreparedQuery>& queries) const {
    for (; rows > 0; rows -= std::min(rows, length)) queries.push_back(query(task, std::min(rows, length)));
  }

  void make_batches() {
    const engine::Task* unchanged = task(kUnchangedTask);
    Measured probe;
    add_rows(unchanged, 256, 32, probe.queries);
    for (int i = 0; i < 3; ++i) measure(probe);
    const double row = middle(probe.seconds) / 256;
    // Where a round would take more than a third of the time, the largest batches are left out: what is beyond them is extrapolated.
    for (uint32_t cap = options_.max_batch_tokens;; cap /= 2) {
      alpha_.clear();
      beta_.clear();
      mixed_.clear();
      make_alpha(unchanged, cap, row);
      make_beta(unchanged, std::min(cap, 256U), row);
      make_mixed(unchanged, std::min(cap, 512U));
      double rows = 0;
      const auto add = [&](const Measured& batch) {
        for (const PreparedQuery& each : batch.queries) rows += static_cast<double>(each.tokens.size()) * batch.weight;
      };
      for (const auto& batch : alpha_) add(batch);
      for (const auto& group : beta_) {
        for (const auto& batch : group.batches) {
          add(batch);
          add(batch);  // as much again for half of the unchanged batches, and what operators take
        }
      }
      for (const auto& batch : mixed_) {
        add(batch);
        add(batch.unchanged);
      }
      if (rows * row * 1.2 < options_.seconds / 3 || cap <= 64) break;
    }
  }

  void make_alpha(const engine::Task* unchanged, uint32_t cap, double row) {
    // Lengths that are no multiples of a strip, as most are: queries begin and end within strips. Rows between the powers of two, since a
    // multiple of what a kernel's tile takes runs at a better rate than its neighbours.
    uint32_t sizes = 0;
    for (uint32_t rows = 8; rows <= cap; rows = (rows & (rows - 1)) == 0 && rows >= 32 ? rows * 3 / 2
                                                : rows < 32                            ? rows * 2
                                                                                       : rows / 3 * 4) {
      ++sizes;
      uint32_t i = 0;
      for (const uint32_t longest : {8U, 16U, 32U, 64U, 128U, 256U, 512U}) {
        if (longest > std::min(rows, positions_)) break;
        // Large batches are linear in the length: some lengths each, in turns.
        if (rows > 128 && (i++ + sizes) % (rows > 512 ? 3 : 2) != 0) continue;
        AlphaBatch batch;
        batch.length = rows == longest ? rows : longest - longest / 16 - 1;
        batch.count = rows / batch.length;
        batch.queries.assign(batch.count, query(unchanged, batch.length));
        batch.weight = std::clamp(std::floor(0.02 / (rows * row)), 1.0, 5.0);  // short ones are noisy
        alpha_.push_back(std::move(batch));
      }
    }
  }

  void make_beta(const engine::Task* unchanged, uint32_t cap, double row) {
    // Odd numbers: tasks begin and end within strips, which is what costs where strips of one task need no dense product (masks).
    for (const uint32_t rows : {1U, 5U, 19U, 61U, 253U}) {
      const uint32_t total = std::min(rows <= 5 ? 128U : 256U, cap);
      const uint32_t count = std::min(total / rows, kProfiledTasks);
      if (count == 0) continue;
      BetaGroup group;
      const auto fill = [&](const ProfiledTasks* profiled, Measured& batch) {
        batch.weight = std::clamp(std::floor(0.02 / (total * row)), 1.0, 5.0);
        for (uint32_t i = 0; i < count; ++i) {
          add_rows(profiled == nullptr ? unchanged : task(profiled_task_name(*profiled, i)), rows, kBetaLength, batch.queries);
        }
        add_rows(unchanged, total - count * rows, kBetaLength, batch.queries);
      };
      fill(nullptr, group.unchanged);
      for (const ProfiledTasks& profiled : profiled_tasks()) {
        BetaBatch batch;
        fill(&profiled, batch);
        batch.family = profiled.family;
        batch.work = serving::work_of(task(profiled_task_name(profiled, 0))->weights, model_->impl().base)[profiled.family];
        batch.tasks = count;
        batch.rows = rows;
        group.batches.push_back(std::move(batch));
      }
      beta_.push_back(std::move(group));
    }
  }

  /// Batches of queries of any PET types, lengths and number of tasks.
  void make_mixed(const engine::Task* unchanged, uint32_t cap) {
    std::mt19937_64 random(7);
    const std::vector<std::string> names = predicted_task_names();
    for (uint32_t b = 0; b < 20; ++b) {
      MixedBatch batch;
      const uint32_t rows = cap / 8 + static_cast<uint32_t>(random() % (cap - cap / 8));
      const size_t some = 1 + random() % names.size(), first = random() % names.size();
      const uint32_t longest = std::min<uint32_t>(positions_, 8U << random() % 5U);
      while (batch.shape.rows < rows) {
        const engine::Task* owner = task(names[(first + random() % some) % names.size()]);
        const uint32_t length = std::min<uint32_t>(1 + static_cast<uint32_t>(random() % longest), rows - batch.shape.rows);
        batch.queries.push_back(query(owner, length));
        batch.unchanged.queries.push_back(query(unchanged, length));
        batch.shape.add(length);
        batch.rows[owner] += length;
      }
      mixed_.push_back(std::move(batch));
    }
  }

  double run_once(const Measured& batch) {
    bool failed = false;
    const double start = now();
    session_->impl().run_prepared(
        batch.queries,
        [](void* context, size_t, const Answer& answer) {
          if (answer.status) return;
          if (!*static_cast<bool*>(context)) fmt::print(stderr, "pets-bench profile: {}\n", answer.status.c_str());
          *static_cast<bool*>(context) = true;
        },
        &failed);
    return now() - start;
  }

  /// One thread is timed by its own clock, so that what else the machine does counts only by the caches it takes.
  double now() const {
    if (session_->threads() == 1 && options_.backend == "cpu") return thread_seconds();
    return std::chrono::duration<double>(Steady::now().time_since_epoch()).count();
  }

  /// Whether the time is spent; the first round is always whole.
  bool is_enough() { return enough_ = !first_round_ && Steady::now() >= end_; }

  void measure(Measured& batch) {
    for (double i = 0; i < batch.weight && !is_enough(); ++i) batch.seconds.push_back(run_once(batch));
  }

  void measure_alpha() {
    for (AlphaBatch& batch : alpha_) measure(batch);
  }

  /// Each batch between two of the same rows without operators, so that what else the machine does counts for both.
  void measure_beta() {
    for (BetaGroup& group : beta_) {
      for (double i = 0; i < group.unchanged.weight && !is_enough(); ++i) {
        double before = run_once(group.unchanged);
        for (size_t b = 0; b < group.batches.size(); b += 2) {
          const size_t end = std::min(b + 2, group.batches.size());
          for (size_t j = b; j < end; ++j) group.batches[j].seconds.push_back(run_once(group.batches[j]));
          const double after = run_once(group.unchanged);
          for (size_t j = b; j < end; ++j) group.batches[j].ratio.push_back(group.batches[j].seconds.back() / ((before + after) / 2));
          group.unchanged.seconds.push_back(after);
          before = after;
        }
      }
    }
  }

  serving::LatencyTable make_table() const {
    constexpr double kLeastSeconds = 1e-9;  // a difference may come out negative where it is less than the noise
    serving::LatencyTable table;
    table.key = serving::key_of(session_->impl());
    for (const AlphaBatch& batch : alpha_) table.alpha.push_back({batch.count, batch.length, usual(batch.seconds)});
    for (const BetaGroup& group : beta_) {
      const double unchanged = usual(group.unchanged.seconds);
      for (const BetaBatch& batch : group.batches) {
        const double difference = (middle(batch.ratio) - 1) * unchanged / batch.tasks;
        table.beta.push_back({batch.family, batch.work, batch.rows, std::max(difference, kLeastSeconds)});
      }
    }
    return table;
  }

  void report(const serving::CostModel& model, const serving::LatencyTable& table) const {
    const engine::BaseWeights& base = model_->impl().base;
    const double work = base.layers * (4.0 * base.hidden * base.hidden + 2.0 * base.hidden * base.intermediate);
    BatchShape one, many;
    for (uint32_t i = 0; i < 32; ++i) (i < 16 ? one : many).add(32);
    for (uint32_t i = 0; i < 16; ++i) many.add(32);
    const double rate = (model.alpha(many) - model.alpha(one)) / (many.rows - one.rows) / work;
    if (options_.verbose) {
      fmt::print(
          "\n| family | work | rows | us a task | a unit of work and row, in multiply-adds of the encoder |\n|---|---|---|---|---|\n");
      for (const serving::BetaPoint& point : table.beta) {
        fmt::print("| {} | {:.0f} | {} | {:.1f} | {:.2f} |\n", serving::operator_family_name(point.family), point.work, point.rows,
                   point.seconds * 1e6, point.seconds / point.work / point.rows / rate);
      }
    }
    const auto error = [](double predicted, double measured) { return predicted / measured - 1; };
    std::vector<double> errors, unchanged_errors, alpha_errors;
    for (const AlphaBatch& batch : alpha_) {
      BatchShape shape;
      for (uint32_t i = 0; i < batch.count; ++i) shape.add(batch.length);
      alpha_errors.push_back(error(model.alpha(shape), usual(batch.seconds)));
      if (options_.verbose) {
        fmt::print("alpha {} x {}: {:.2f} ms, {:+.1f} %\n", batch.count, batch.length, usual(batch.seconds) * 1e3,
                   alpha_errors.back() * 100);
      }
    }
    fmt::print(
        "\n| rows | queries | tasks | measured ms | predicted ms | error | without operators: measured ms | error |\n"
        "|---|---|---|---|---|---|---|---|\n");
    for (const MixedBatch& batch : mixed_) {
      double pet = 0;
      for (const auto& [owner, rows] : batch.rows) pet += model.task_cost(serving::work_of(owner->weights, base)).seconds(rows);
      const double alpha = model.alpha(batch.shape), measured = usual(batch.seconds), unchanged = usual(batch.unchanged.seconds);
      errors.push_back(error(alpha + pet, measured));
      unchanged_errors.push_back(error(alpha, unchanged));
      fmt::print("| {} | {} | {} | {:.2f} | {:.2f} | {:+.1f} % | {:.2f} | {:+.1f} % |\n", batch.shape.rows, batch.shape.queries,
                 batch.rows.size(), measured * 1e3, (alpha + pet) * 1e3, errors.back() * 100, unchanged * 1e3,
                 unchanged_errors.back() * 100);
    }
    const auto print_errors = [](const char* what, std::vector<double> values) {
      for (double& value : values) value = std::abs(value);
      fmt::print("{}: median error {:.1f} %, largest {:.1f} %\n", what, middle(values) * 100,
                 *std::max_element(values.begin(), values.end()) * 100);
    };
    fmt::print("\n");
    print_errors("What the shared operators were fitted to", alpha_errors);
    print_errors("Batches that were not fitted, without operators", unchanged_errors);
    print_errors("Batches that were not fitted", errors);
  }

  ProfileOptions options_;
  std::shared_ptr<Model> model_;
  std::unique_ptr<Session> session_;
  std::map<std::string, std::shared_ptr<const engine::Task>> tasks_;
  uint32_t positions_ = 0;
  Steady::time_point end_ = Steady::time_point::max();
  bool first_round_ = true, enough_ = false;
  std::vector<tokenizer::Token> ids_;
  std::vector<AlphaBatch> alpha_;
  std::vector<BetaGroup> beta_;
  std::vector<MixedBatch> mixed_;
};

}  // namespace

int run_profile(const ProfileOptions& options) { return Profile(options).run(); }

}  // namespace pets::benchmarks
