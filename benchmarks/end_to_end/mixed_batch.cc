#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <random>
#include <thread>
#include <vector>

#include "benchmarks/backend.h"
#include "benchmarks/end_to_end/device_waits.h"
#include "benchmarks/end_to_end/experiments.h"
#include "benchmarks/kernels/dot_peak.h"
#include "benchmarks/kernels/fma_peak.h"
#include "benchmarks/median.h"

#include "pets/pets.h"

namespace pets::benchmarks {
namespace {

using testing_util::PetKind;

/// One row of the table: which task answers the queries of each group.
struct Variant {
  std::string name;
  std::vector<std::string> task_of_group;
  std::vector<double> seconds, ratio, share, dot_share, calls, host;
};

constexpr const char* kBaseAlone = "base alone";

/// A task to be made.
struct TaskRecipe {
  PetKind kind;
  std::string name;
  uint64_t seed;
};

/// By all processors: 128 tasks of each kind of BERT-base are a minute of one.
std::vector<converter::PetTask> make_tasks(const converter::BaseModel& base, const std::vector<TaskRecipe>& recipes,
                                           const testing_util::PetOptions& pet) {
  std::vector<converter::PetTask> tasks(recipes.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i; (i = next++) < recipes.size();) {
      tasks[i] = testing_util::random_task(base, recipes[i].kind, converter::HeadType::kSequenceClassification, recipes[i].name,
                                           recipes[i].seed, pet);
    }
  };
  std::vector<std::jthread> others;
  for (uint32_t i = 1; i < std::thread::hardware_concurrency(); ++i) others.emplace_back(work);
  work();
  return tasks;
}

/// Seconds of the same queries, a call for those of each task.
double run_by_task(Session& session, std::span<const Query> queries, uint32_t queries_per_task) {
  double seconds = 0;
  for (size_t first = 0; first < queries.size(); first += queries_per_task) {
    seconds += run_once(session, queries.subspan(first, queries_per_task));
  }
  return seconds;
}

/// Multiply-adds of the shared encoder, doubled: six linears, scores and values. From the last layer's queries on only the first
/// token is computed, which is what classifiers read.
double encoder_flops(const testing_util::ModelShape& shape, const std::vector<std::vector<int32_t>>& queries) {
  double flops = 0;
  for (const auto& ids : queries) {
    const double n = static_cast<double>(ids.size()), h = shape.hidden, i = shape.intermediate;
    flops += 2 * shape.layers * (n * (4 * h * h + 2 * h * i) + 2 * n * n * h) - 2 * (n - 1) * (2 * h * h + 2 * h * i + 2 * n * h);
  }
  return flops;
}

/// GOP/s of dot products where linears of this precision are computed by them; otherwise 0.
double dot_peak_of(converter::Precision precision, kernels::Isa isa, uint32_t threads) {
  if (precision != converter::Precision::kInt8 && precision != converter::Precision::kBFloat16) return 0;
  const auto type = precision == converter::Precision::kInt8 ? kernels::WeightType::kInt8 : kernels::WeightType::kBFloat16;
  return threads == 1 ? dot_peak_of_this_thread(isa, type) : dot_peak_gops(threads, isa, type);
}

/// What the CPU and a device are compared with differs.
void print_table(const std::vector<Variant>& variants, double tokens, double flops, bool on_cpu, bool with_calls) {
  const auto share_text = [](const std::vector<double>& shares) { return shares.empty() ? "" : fmt::format("{:.3f}", median(shares)); };
  fmt::print("| batch | ms | tokens/s | {} | base time / time |{}\n|---|---|---|---|---|---|{}\n",
             on_cpu ? "share of FMA peak | share of dot peak" : "encoder TFLOP/s | host CPU ms",
             with_calls ? " one call a task, ms | times the mixed batch | merged copies, one call each: times the mixed batch |" : "",
             with_calls ? "---|---|---|" : "");
  for (const Variant& variant : variants) {
    const double seconds = median(variant.seconds);
    fmt::print("| {} | {:.2f} | {:.0f} | ", variant.name, seconds * 1e3, tokens / seconds);
    if (on_cpu) {
      fmt::print("{} | {}", share_text(variant.share), share_text(variant.dot_share));
    } else {
      fmt::print("{:.1f} | {}", flops / seconds / 1e12, variant.host.empty() ? "" : fmt::format("{:.2f}", median(variant.host) * 1e3));
    }
    fmt::print(" | {:.3f} |", median(variant.ratio));
    if (with_calls) {  // a merged copy of a task costs what the base alone does
      const double calls = median(variant.calls), merged = median(variants.front().calls);
      fmt::print(" {:.1f} | {:.2f} | {:.2f} |", calls * 1e3, calls / seconds, merged / seconds);
    }
    fmt::print("\n");
  }
}

}  // namespace

double run_once(Session& session, std::span<const Query> queries) {
  const auto now = [&session] {
    return session.threads() == 1 && session.model().device().empty()
               ? thread_seconds()
               : std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  const double start = now();
  size_t failed = 0;
  const Status status = session.run(queries, [&](size_t, const Answer& answer) { failed += answer.status ? 0 : 1; });
  const double end = now();
  if (!status || failed != 0) fmt::print(stderr, "{} queries failed\n", failed);
  return end - start;
}

testing_util::ModelShape shape_named(const std::string& name) {
  return name == "bert-base" ? testing_util::bert_base_shape() : testing_util::minilm_shape();
}

int run_mixed_batch(const MixedBatchOptions& options) {
  if (const Status works = backend_works(backend_named(options.backend)); !works) {
    fmt::print(stderr, "{}\n", works.c_str());
    return 1;
  }
  const testing_util::ModelShape shape = shape_named(options.shape);
  const auto base = testing_util::random_base(shape, options.seed);
  std::mt19937_64 random(options.seed);

  // Every task has its own bytes: `tasks` of each kind.
  const std::pair<PetKind, const char*> kinds[] = {{PetKind::kBitFit, "BitFit"},
                                                   {PetKind::kLoraQueryValue, "LoRA r=8 q,v"},
                                                   {PetKind::kMaskBert, "MaskBert 5 %"},
                                                   {PetKind::kDiffPruning, "diff-pruning 1 %"},
                                                   {PetKind::kHoulsby, "adapters 64 (Houlsby)"}};
  testing_util::PetOptions pet;
  pet.bottleneck = 64;
  const testing_util::TemporaryFile file("bench-mixed.pets");
  std::vector<Variant> variants;
  {
    std::vector<TaskRecipe> recipes;
    const auto add = [&](PetKind kind, const std::string& name) { recipes.push_back({kind, name, random()}); };
    add(PetKind::kNone, "base");
    variants.push_back({kBaseAlone, std::vector<std::string>(options.tasks, "base"), {}, {}, {}, {}, {}, {}});
    for (const auto& [kind, label] : kinds) {
      Variant variant{fmt::format("{} x {}", options.tasks, label), {}, {}, {}, {}, {}, {}, {}};
      for (uint32_t i = 0; i < options.tasks; ++i) {
        variant.task_of_group.push_back(fmt::format("{}-{}", testing_util::pet_kind_name(kind), i));
        add(kind, variant.task_of_group.back());
      }
      variants.push_back(std::move(variant));
    }
    Variant mix{fmt::format("{} mixed tasks, all types", options.tasks), {}, {}, {}, {}, {}, {}, {}};
    for (uint32_t i = 0; i < options.tasks; ++i) mix.task_of_group.push_back(variants[1 + i % std::size(kinds)].task_of_group[i]);
    variants.push_back(std::move(mix));
    // The tasks stay in the bundle all the same: its layout is part of what is measured.
    std::erase_if(variants, [&](const Variant& v) { return v.name != kBaseAlone && v.name.find(options.only) == std::string::npos; });
    testing_util::write_random_bundle(file.path(), base, make_tasks(base, recipes, pet), options.precision);
  }

  const bool on_cpu = options.backend == "cpu";
  ModelOptions model_options;
  model_options.backend = backend_named(options.backend);
  auto model = Model::load(file.c_str(), model_options);
  if (!model) {
    fmt::print(stderr, "{}\n", model.status().c_str());
    return 1;
  }
  std::vector<std::vector<int32_t>> ids(static_cast<size_t>(options.tasks) * options.queries_per_task);
  std::normal_distribution<double> lengths(options.length, options.sigma);
  size_t tokens = 0;
  for (auto& query : ids) {
    const double length =
        options.sigma == 0 ? options.length : std::clamp(std::round(lengths(random)), 1.0, static_cast<double>(shape.positions));
    query.resize(static_cast<size_t>(length));
    for (int32_t& id : query) id = static_cast<int32_t>(random() % shape.vocabulary);
    tokens += query.size();
  }
  SessionOptions session_options;
  session_options.threads = options.threads;
  session_options.max_batch_tokens = static_cast<uint32_t>(tokens);
  session_options.max_batch_queries = static_cast<uint32_t>(ids.size());
  auto session = Session::create(*model, session_options);
  if (!session) {
    fmt::print(stderr, "{}\n", session.status().c_str());
    return 1;
  }

  std::vector<std::vector<Query>> batches;
  for (const Variant& variant : variants) {
    std::vector<Query> batch(ids.size());
    for (size_t i = 0; i < ids.size(); ++i) {
      batch[i].task = variant.task_of_group[i / options.queries_per_task];
      batch[i].ids = ids[i];
      batch[i].has_ids = true;
    }
    batches.push_back(std::move(batch));
  }
  const double flops = encoder_flops(shape, ids);
  const kernels::Isa isa = kernels::parse_isa((*model)->isa()).value_or(kernels::Isa::kPortable);
  const uint32_t threads = (*session)->threads();
  std::vector<double> peaks, dot_peaks;
  for (const auto& batch : batches) run_once(**session, batch);  // warm
  for (uint32_t round = 0; round < options.rounds; ++round) {
    double peak = 0, dot_peak = 0;
    if (on_cpu) {
      // The pool's workers spin for a while after a batch: the peak is measured when they sleep.
      std::this_thread::sleep_for(std::chrono::milliseconds(150));
      peak = threads == 1 ? fma_peak_of_this_thread(isa) : fma_peak_gflops(threads, isa);
      dot_peak = dot_peak_of(options.precision, isa, threads);
    }
    peaks.push_back(peak);
    dot_peaks.push_back(dot_peak);
    for (size_t v = 0; v < variants.size(); ++v) {
      // The base is timed before and after each variant, so that a slow minute hits both sides of the ratio.
      const double before = run_once(**session, batches[0]);
      const double seconds = v == 0 ? before : run_once(**session, batches[v]);
      const double after = v == 0 ? before : run_once(**session, batches[0]);
      variants[v].seconds.push_back(seconds);
      variants[v].ratio.push_back((before + after) / 2 / seconds);
      if (peak != 0) variants[v].share.push_back(flops / seconds / 1e9 / peak);
      if (dot_peak != 0) variants[v].dot_share.push_back(flops / seconds / 1e9 / dot_peak);
    }
  }
  for (uint32_t round = 0; round < options.calls; ++round) {
    for (size_t v = 0; v < variants.size(); ++v) {
      if (round == 0) run_by_task(**session, batches[v], options.queries_per_task);
      variants[v].calls.push_back(run_by_task(**session, batches[v], options.queries_per_task));
    }
  }
  if (!on_cpu && sleep_while_waiting(true)) {
    for (uint32_t round = 0; round < options.rounds; ++round) {
      for (size_t v = 0; v < variants.size(); ++v) {
        const double start = thread_seconds();
        run_once(**session, batches[v]);
        variants[v].host.push_back(thread_seconds() - start);
      }
    }
    sleep_while_waiting(false);
  }
  if (!on_cpu) fmt::print("On {}: ", (*model)->device());
  fmt::print("{} shape, {} packed tokens, {} queries, {} threads, {}, {}", options.shape, tokens, ids.size(), threads, (*model)->isa(),
             converter::precision_name(options.precision));
  if (on_cpu) fmt::print(", peaks {:.0f} GFLOP/s of multiply-adds, {:.0f} of dot products", median(peaks), median(dot_peaks));
  fmt::print(" (medians of {} rounds{}), seed {}\n\n", options.rounds,
             options.calls == 0 ? "" : fmt::format(", of {} of one call a task", options.calls), options.seed);
  print_table(variants, static_cast<double>(tokens), flops, on_cpu, options.calls != 0);
  return 0;
}

}  // namespace pets::benchmarks
