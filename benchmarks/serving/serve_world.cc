#include "benchmarks/serving/serve_world.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <future>
#include <thread>

#include "benchmarks/median.h"
#include "benchmarks/serving/devices.h"
#include "benchmarks/serving/random.h"

#include "runtime/engine/session_impl.h"
#include "runtime/platform/check.h"
#include "runtime/serving/fit.h"
#include "runtime/serving/server_impl.h"
#include "runtime/serving/task_work.h"

namespace pets::benchmarks {
namespace {

using testing_util::PetKind;

constexpr uint32_t kIds = 1 << 16;
/// The PET types that are trained in practice: not the unchanged task, nor the one with every operator at every site.
constexpr PetKind kKinds[] = {PetKind::kLoraQueryValue, PetKind::kBitFit,  PetKind::kDiffPruning, PetKind::kMaskBert, PetKind::kIa3,
                              PetKind::kHoulsby,        PetKind::kLoraAll, PetKind::kPfeiffer,    PetKind::kParallel};

}  // namespace

double steady_seconds() { return static_cast<double>(serving::now()) * 1e-9; }

ServeWorld::ServeWorld(const ServeOptions& options) : options_(options), bundle_("bench-serve.pets"), table_file_("bench-serve.table") {}

Result<std::unique_ptr<ServeWorld>> ServeWorld::create(const ServeOptions& options) {
  std::unique_ptr<ServeWorld> world(new ServeWorld(options));
  PETS_RETURN_IF_ERROR(world->make_model());
  PETS_RETURN_IF_ERROR(world->make_servers());
  return world;
}

Status ServeWorld::make_model() {
  const testing_util::ModelShape shape = options_.shape == "bert-base" ? testing_util::bert_base_shape() : testing_util::minilm_shape();
  positions_ = shape.positions;
  options_.made.max_length = std::min({options_.made.max_length, positions_, options_.max_batch_tokens});
  options_.made.min_length = std::min(options_.made.min_length, options_.made.max_length);
  Random random(options_.seed);
  {
    const auto base = testing_util::random_base(shape, options_.seed);
    testing_util::PetOptions pet;
    pet.bottleneck = 64;
    std::vector<converter::PetTask> tasks;
    for (uint32_t i = 0; i < options_.made.tasks; ++i) {
      const PetKind kind = kKinds[i % std::size(kKinds)];
      names_.push_back(std::string(testing_util::pet_kind_name(kind)) + "-" + std::to_string(i));
      tasks.push_back(
          testing_util::random_task(base, kind, converter::HeadType::kSequenceClassification, names_.back(), random.next(), pet));
    }
    testing_util::write_random_bundle(bundle_.path(), base, tasks);
  }
  ids_.resize(kIds + positions_);
  for (int32_t& id : ids_) id = static_cast<int32_t>(random.below(shape.vocabulary));
  PETS_ASSIGN_OR_RETURN(model_, Model::load(bundle_.c_str()));
  const Model::Impl& internals = model_->impl();
  internals.tasks.view([&](const engine::TaskSet& set) {
    for (const std::string& name : names_) works_.push_back(serving::work_of(set.tasks[*set.find(name)]->weights, internals.base));
  });
  return Status::ok();
}

Status ServeWorld::make_servers() {
  PETS_ASSIGN_OR_RETURN(pool_, ThreadPool::create(options_.threads));
  ServerOptions server;
  server.session.pool = pool_.get();
  server.session.max_batch_tokens = options_.max_batch_tokens;
  server.session.max_batch_queries = options_.max_batch_queries;
  server.max_queued = simulation(Strategy::kPacked).max_queued;
  server.fixed_batch_queries = options_.fixed_queries;
  server.metrics_tasks = options_.metrics ? options_.made.tasks : 0;
  server.trace_batches = 1 << 16;
  PETS_ASSIGN_OR_RETURN(session_, Session::create(model_, server.session));
  if (options_.table.empty()) {
    table_ = serving::fit_at_load(session_->impl(), options_.fit_seconds);
    server.latency_table = table_file_.path();
    PETS_RETURN_IF_ERROR(serving::write_latency_table(table_file_.c_str(), table_));
  } else {
    PETS_ASSIGN_OR_RETURN(table_, serving::read_latency_table(options_.table.c_str()));
    server.latency_table = options_.table;
  }
  table_costs_ = serving::CostModel(table_.alpha, table_.beta);
  for (const std::string& name : options_.strategies) {
    if (!parse_strategy(name, &server.strategy)) {
      return Status::error(ErrorCode::kInvalidArgument, "unknown strategy '%s'", name.c_str());
    }
    strategies_.push_back(server.strategy);
    PETS_ASSIGN_OR_RETURN(servers_[server.strategy], Server::create(model_, server));
  }
  return Status::ok();
}

TraceOptions ServeWorld::trace_options(uint64_t seed) const {
  TraceOptions made = options_.made;
  made.seed = seed;
  return made;
}

Query ServeWorld::query(const Trace& trace, size_t index) const {
  const Arrival& arrival = trace.arrivals[index];
  Query query;
  query.task = names_[arrival.task];
  query.ids = std::span(ids_).subspan(index * 7919 % kIds, std::min(arrival.tokens, positions_));
  query.has_ids = true;
  return query;
}

ServeWorld::Direct ServeWorld::run_direct(const Trace& trace) {
  const auto batches = full_batches(trace, {full_rows(), options_.max_batch_queries});
  std::vector<Query> queries;
  Direct direct;
  uint64_t full_queries = 0;
  for (size_t b = 0; b < batches.size(); ++b) {
    queries.clear();
    for (const uint32_t i : batches[b]) queries.push_back(query(trace, i));
    const double start = steady_seconds();
    (void)session_->run(queries, [](size_t, const Answer&) {});
    const double seconds = steady_seconds() - start;
    direct.seconds += seconds;
    if (b + 1 == batches.size() && b != 0) break;  // the last one is what was left
    direct.batch_seconds += seconds;
    full_queries += queries.size();
  }
  const auto full = static_cast<double>(std::max<size_t>(batches.size(), 2) - 1);
  direct.queries_per_second = static_cast<double>(full_queries) / direct.batch_seconds;
  direct.batch_seconds /= full;
  return direct;
}

void ServeWorld::calibrate(uint64_t seed, double seconds, std::vector<Ratio>& ratios) {
  Random random(seed);
  TraceOptions made = trace_options(random.next());
  made.process = Process::kAtOnce;
  made.queries = 8192;
  const Trace trace = make_trace(made);
  const size_t least = ratios.size() + 4;
  std::vector<Query> queries;
  const double most = std::log2(options_.max_batch_tokens / 16.0);
  size_t next = 0;
  for (const double start = steady_seconds(); steady_seconds() - start < seconds || ratios.size() < least;) {
    const auto wanted = static_cast<uint32_t>(16 * std::exp2(random.uniform() * most));
    std::vector<uint32_t> batch;
    uint32_t rows = 0;
    while (batch.empty() || (rows < wanted && batch.size() < options_.max_batch_queries)) {
      const uint32_t tokens = trace.arrivals[next % trace.arrivals.size()].tokens;
      if (rows + tokens > options_.max_batch_tokens) break;
      rows += tokens;
      batch.push_back(static_cast<uint32_t>(next++ % trace.arrivals.size()));
    }
    std::stable_sort(batch.begin(), batch.end(), [&](uint32_t a, uint32_t b) { return trace.arrivals[a].task < trace.arrivals[b].task; });
    queries.clear();
    for (const uint32_t i : batch) queries.push_back(query(trace, i));
    const double begin = steady_seconds();
    (void)session_->run(queries, [](size_t, const Answer&) {});
    const double seconds_of_batch = steady_seconds() - begin;
    ratios.push_back({rows, seconds_of_batch / pets::benchmarks::batch_seconds(trace, batch, works_, table_costs_), false});
  }
}

double ServeWorld::ratio_of(const serving::BatchRecord& record) const {
  const double rows = record.rows, length = rows / record.queries;
  // What the server predicted is (alpha + beta) * correction, of which beta * correction is known apart.
  const double alpha = table_costs_.alpha({record.rows, record.queries, rows * length});
  const double uncorrected = alpha * record.predicted_seconds / std::max(record.predicted_seconds - record.pet_seconds, 1e-9);
  return static_cast<double>(record.end_ns - record.start_ns) * 1e-9 / uncorrected;
}

void ServeWorld::add_served(Server& server, double since, std::vector<Ratio>& ratios) const {
  constexpr uint64_t kSlept = 300'000;  // ns
  uint64_t end_before = 0;
  for (const serving::BatchRecord& record : server.impl().records().trace.records()) {
    const bool slept = record.start_ns >= end_before + kSlept;
    end_before = record.end_ns;
    if (!slept && static_cast<double>(record.start_ns) * 1e-9 >= since) ratios.push_back({record.rows, ratio_of(record), true});
  }
}

DeviceModel ServeWorld::device(std::span<const Ratio> ratios, uint64_t seed) const {
  DeviceModel device{table_costs_, {}, seed, {}};
  // By powers of two of strips, as the model keeps its corrections: towards the mean, again and again until nothing moves.
  for (uint32_t rows = 16; rows <= 2 * options_.max_batch_tokens; rows *= 2) {
    constexpr size_t kSeveral = 8;
    std::vector<double> found, served;
    for (const Ratio& each : ratios) {
      if (std::bit_width((each.rows + 15) / 16) == std::bit_width(rows / 16)) (each.served ? served : found).push_back(each.ratio);
    }
    if (served.size() >= kSeveral) found = std::move(served);
    if (found.empty()) continue;
    // The mean: over the batches of a trace the time adds up, slow ones included.
    double wanted = 0;
    for (const double ratio : found) wanted += ratio / static_cast<double>(found.size());
    for (int step = 0; step < 200; ++step) device.costs.correct(rows, device.costs.correction(rows), wanted);
    for (const double ratio : found) device.noise.push_back(ratio / wanted);
  }
  return device;
}

double ServeWorld::measure_wake(Server& server, uint64_t seed, double mean_gap) {
  constexpr uint32_t kQueries = 64;
  TraceOptions made = trace_options(seed);
  made.process = Process::kAtOnce;
  made.queries = kQueries;
  made.sigma = 0;
  const Trace trace = make_trace(made);
  Random random(seed);
  std::vector<double> more;
  for (size_t i = 0; i < kQueries; ++i) {
    const std::vector<Query> one = {query(trace, i)};
    (void)session_->run(one, [](size_t, const Answer&) {});
    double start = steady_seconds();
    (void)session_->run(one, [](size_t, const Answer&) {});
    const double direct = steady_seconds() - start;
    std::this_thread::sleep_for(std::chrono::duration<double>(mean_gap * random.exponential()));
    start = steady_seconds();
    double end = start;
    const auto id = server.submit(one[0], {}, [&](QueryId, uint32_t, const Answer&) { end = steady_seconds(); });
    (void)server.drain();
    if (id) more.push_back(end - start - direct);
  }
  return more.empty() ? 0 : std::max(median(std::move(more)), 0.0);
}

SimulationOptions ServeWorld::simulation(Strategy strategy) const {
  SimulationOptions simulation;
  simulation.strategy = strategy;
  simulation.batching.limits = limits();
  simulation.batching.fixed_queries = options_.fixed_queries;
  simulation.max_queued = std::max(4096U, options_.drain_queries + 1);
  // Locks, planning and the records between two batches.
  simulation.batch_overhead_seconds = 50e-6;
  return simulation;
}

DeviceModel ServeWorld::as_it_was(Server& server, double seconds) const {
  DeviceModel device{table_costs_, {}, 0, {}};
  double end_before = 0;  // a simulated batch may begin a little sooner than the real one did
  for (const serving::BatchRecord& record : server.impl().records().trace.records()) {
    const double start = static_cast<double>(record.start_ns) * 1e-9 - seconds;
    if (start < 0) continue;
    device.slowdowns.push_back({end_before, ratio_of(record)});
    end_before = static_cast<double>(record.end_ns) * 1e-9 - seconds;
  }
  return device;
}

BatchSums ServeWorld::batches_since(Server& server, double seconds) {
  BatchSums sums;
  for (const serving::BatchRecord& record : server.impl().records().trace.records()) {
    if (static_cast<double>(record.start_ns) * 1e-9 < seconds) continue;
    ++sums.batches;
    sums.queries += record.queries;
    sums.rows += record.rows;
    sums.padded_rows += record.padded_rows;
    sums.busy_seconds += static_cast<double>(record.end_ns - record.start_ns) * 1e-9;
  }
  return sums;
}

}  // namespace pets::benchmarks
