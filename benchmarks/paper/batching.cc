// Figure 12. Every way plans the same waiting queries with the scheduler that the server drives, and its batches run on one session, padded
// where the strategy pads. Ways are interleaved; the order turns from round to round.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include "benchmarks/median.h"
#include "benchmarks/paper/workload.h"

#include "runtime/engine/session_impl.h"
#include "runtime/serving/fit.h"
#include "runtime/serving/scheduler.h"
#include "runtime/serving/task_work.h"

namespace pets::benchmarks {
namespace {

constexpr uint32_t kLongest = 128;  // tokens, as in the paper's artifact

struct Way {
  std::string name;
  Strategy strategy = Strategy::kPacked;
  serving::BatchingOptions options;
  std::vector<double> seconds, scheduling;
  uint32_t batches = 0;
  uint64_t rows = 0;
  double predicted = 0;
};

/// One waiting query as the scheduler and as the engine see it.
struct Waiting {
  serving::Item item;
  engine::PreparedQuery prepared;
  std::vector<tokenizer::Token> tokens;
};

std::vector<Way> ways_of(const BatchingExperimentOptions& options) {
  serving::BatchingOptions common;
  common.limits = {options.max_batch_tokens, options.max_batch_queries};
  common.items = options.queries;
  std::vector<Way> ways;
  const auto add = [&](std::string name, Strategy strategy, const auto& change) {
    Way way{std::move(name), strategy, common, {}, {}};
    change(way.options);
    ways.push_back(std::move(way));
  };
  for (const uint32_t size : options.fixed) {
    add(fmt::format("fixed {}", size), Strategy::kFixed, [&](serving::BatchingOptions& own) { own.fixed_queries = size; });
  }
  const auto nothing = [](serving::BatchingOptions&) {};
  add("beta", Strategy::kBeta, nothing);
  add("alpha", Strategy::kAlpha, nothing);
  // The paper's to the letter, and with its first step told what padding costs the shared operators: see padded_batching.h.
  add("coordinated, padding 0", Strategy::kCoordinated, [](serving::BatchingOptions& own) { own.padding_weight = 0; });
  add("coordinated, padding 1", Strategy::kCoordinated, [](serving::BatchingOptions& own) { own.padding_weight = 1; });
  add("packed", Strategy::kPacked, nothing);
  return ways;
}

/// Plans and runs everything once.
void run_way(Way& way, std::span<const Waiting> waiting, const serving::CostModel& costs, Session::Impl& session) {
  serving::Scheduler scheduler(way.strategy, way.options, costs);
  for (const Waiting& query : waiting) scheduler.add(query.item);
  std::vector<engine::PreparedQuery> queries;
  queries.reserve(waiting.size());
  size_t answered = 0;
  double scheduling = 0;
  way.batches = 0;
  way.rows = 0;
  way.predicted = 0;
  const auto start = paper::Clock::now();
  for (serving::Scheduler::Batch batch;;) {
    const auto asked = paper::Clock::now();
    const bool any = scheduler.next(0, batch);
    scheduling += paper::since(asked);
    if (!any) break;
    queries.clear();
    for (const uint32_t slot : batch.slots) {
      queries.push_back(waiting[slot].prepared);
      queries.back().padded_rows = batch.padded_length;
    }
    ++way.batches;
    way.rows += batch.rows;
    way.predicted += batch.predicted_seconds;
    session.run_prepared(
        queries, [](void* count, size_t, const Answer& answer) { *static_cast<size_t*>(count) += answer.status ? 1 : 0; }, &answered);
  }
  way.seconds.push_back(paper::since(start));
  way.scheduling.push_back(scheduling);
  if (answered != waiting.size()) throw std::runtime_error(fmt::format("{} of {} queries answered", answered, waiting.size()));
}

/// Of the rounds' own ratios, in which both ran within the same minute.
double ratio(const Way& slow, const Way& fast) {
  std::vector<double> ratios;
  for (size_t i = 0; i < slow.seconds.size(); ++i) ratios.push_back(slow.seconds[i] / fast.seconds[i]);
  return median(ratios);
}

std::vector<Waiting> make_waiting(const BatchingExperimentOptions& options, const serving::CostModel& costs, const Model::Impl& model) {
  const uint32_t vocabulary = paper::shape_of(options.shape).vocabulary;
  std::mt19937_64 random(options.seed);
  std::normal_distribution<double> lengths(options.mean, options.sigma);
  std::vector<Waiting> waiting(options.queries);
  model.tasks.view([&](const engine::TaskSet& set) {
    for (uint32_t i = 0; i < options.queries; ++i) {
      Waiting& query = waiting[i];
      const auto length = static_cast<uint32_t>(std::clamp(lengths(random), 1.0, double{kLongest}));
      for (const int32_t id : paper::random_ids(length, vocabulary, random)) query.tokens.push_back({.id = id});
      const auto task = static_cast<uint32_t>(random() % options.tasks);
      query.prepared.task = set.tasks[set.find(paper::task_name(options.kind, task)).value()].get();
      query.prepared.tokens = query.tokens;
      query.item.slot = i;
      query.item.task = task;
      query.item.length = query.item.rows = length;
      query.item.cost = costs.task_cost(serving::work_of(query.prepared.task->weights, model.base));
      query.item.arrival = i;
    }
  });
  return waiting;
}

serving::LatencyTable table_for(const BatchingExperimentOptions& options, Session::Impl& session) {
  const bool kept = options.table.empty() && !options.keep_table.empty();
  if (options.table.empty() && !(kept && std::filesystem::exists(options.keep_table))) {
    serving::LatencyTable fitted = serving::fit_at_load(session, options.fit_seconds);
    if (kept) paper::check(serving::write_latency_table(options.keep_table.c_str(), fitted));
    return fitted;
  }
  const std::string& path = kept ? options.keep_table : options.table;
  auto table = paper::value_of(serving::read_latency_table(path.c_str()));
  paper::check(serving::check_key(table.key, serving::key_of(session), path.c_str()));
  return table;
}

void print_table(const std::vector<Way>& ways, const Way* baseline, uint64_t own_rows) {
  fmt::print("| way | seconds | batches | padding | scheduling, ms | share of the time | predicted / measured | times as fast as {} |\n",
             baseline != nullptr ? baseline->name : "");
  fmt::print("|---|---|---|---|---|---|---|---|\n");
  for (const Way& way : ways) {
    const double seconds = median(way.seconds), scheduling = median(way.scheduling);
    fmt::print("| {} | {:.3f} | {} | {:.3f} | {:.2f} | {:.4f} | {:.2f} | {} |\n", way.name, seconds, way.batches,
               1 - static_cast<double>(own_rows) / static_cast<double>(way.rows), scheduling * 1e3, scheduling / seconds,
               way.predicted / seconds, baseline != nullptr ? fmt::format("{:.3f}", ratio(*baseline, way)) : "");
  }
}

}  // namespace

int run_batching(const BatchingExperimentOptions& options) {
  return paper::reported("batching", [&] {
    const paper::Loaded loaded(options, options.tasks);
    SessionOptions session_options;
    session_options.threads = options.threads;
    session_options.max_batch_tokens = options.max_batch_tokens;
    session_options.max_batch_queries = options.max_batch_queries;
    const auto session = paper::value_of(Session::create(loaded.model(), session_options));
    const serving::LatencyTable table = table_for(options, session->impl());
    const serving::CostModel costs(table.alpha, table.beta);
    const std::vector<Waiting> waiting = make_waiting(options, costs, loaded.model()->impl());
    const uint64_t own_rows = std::accumulate(waiting.begin(), waiting.end(), uint64_t{0},
                                              [](uint64_t sum, const Waiting& query) { return sum + query.item.rows; });

    std::vector<Way> ways = ways_of(options), warming = {ways.back()};
    constexpr size_t kWarm = 64;  // queries: pages, caches and the pool; where the table was read, nothing has run yet
    run_way(warming[0], std::span(waiting).first(std::min(kWarm, waiting.size())), costs, session->impl());
    paper::rounds_within(options.rounds, options.seconds, [&](uint32_t round) {
      for (size_t i = 0; i < ways.size(); ++i) run_way(ways[(i + round) % ways.size()], waiting, costs, session->impl());
    });
    if (!options.json) {
      const auto named = std::find_if(ways.begin(), ways.end(), [](const Way& way) { return way.name == "fixed 32"; });
      fmt::print(
          "{} shape, {} queries of N({:g}, {:g}) tokens ({} in all), {} tasks ({}), {} threads, {}, medians of {} rounds; best batch {} "
          "rows\n\n",
          options.shape, options.queries, options.mean, options.sigma, own_rows, options.tasks, options.kind, session->threads(),
          loaded.model()->isa(), ways[0].seconds.size(), costs.best_rows(options.max_batch_tokens));
      print_table(ways, named == ways.end() ? nullptr : &*named, own_rows);
      return;
    }
    nlohmann::json result = {{"isa", std::string(loaded.model()->isa())},
                             {"threads", session->threads()},
                             {"shape", options.shape},
                             {"kind", options.kind},
                             {"tasks", options.tasks},
                             {"queries", options.queries},
                             {"mean", options.mean},
                             {"sigma", options.sigma},
                             {"table", options.table.empty() ? "fitted" : "measured"},
                             {"best_rows", costs.best_rows(options.max_batch_tokens)},
                             {"rows", own_rows},
                             {"ways", nlohmann::json::array()}};
    for (const Way& way : ways) {
      result["ways"].push_back({{"name", way.name},
                                {"seconds", way.seconds},
                                {"scheduling", way.scheduling},
                                {"batches", way.batches},
                                {"rows", way.rows},
                                {"predicted", way.predicted}});
    }
    std::cout << result.dump() << "\n";
  });
}

}  // namespace pets::benchmarks
