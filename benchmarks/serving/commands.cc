#include "benchmarks/serving/commands.h"

#include <fmt/format.h>

#include <memory>

#include "benchmarks/serving/devices.h"
#include "benchmarks/serving/serve.h"
#include "benchmarks/serving/simulate.h"

namespace pets::benchmarks {
namespace {

/// CLI11's own ranges take NaN, which is neither below nor above.
CLI::Validator between(double least, double most) {
  return CLI::Validator(
      [least, most](const std::string& text) {
        double value = 0;
        if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most) return std::string();
        return fmt::format("expected a number from {:g} to {:g}, found {}", least, most, text);
      },
      fmt::format("FLOAT in [{:g} - {:g}]", least, most));
}
constexpr double kTiny = 1e-6, kMost = 1e6;

/// Options that both commands have.
void add_trace_options(CLI::App& command, TraceOptions& made) {
  command.add_option("--tasks", made.tasks, "tasks of the trace")->check(CLI::Range(1, 10'000))->capture_default_str();
  command.add_option("--zipf", made.zipf, "exponent of the tasks' popularity; 0: all alike")->check(between(0, 10))->capture_default_str();
  command.add_option("--length", made.length, "mean tokens a query")->check(between(1, 65536))->capture_default_str();
  command.add_option("--sigma", made.sigma, "deviation of the length")->check(between(0, kMost))->capture_default_str();
  command.add_option("--burst-ratio", made.bursts.ratio, "bursty: rate in a burst to the mean rate")
      ->check(between(1, 100))
      ->capture_default_str();
  command.add_option("--burst-share", made.bursts.on_share, "bursty: part of the time in bursts; with the ratio at most 1")
      ->check(between(0.001, 0.999))
      ->capture_default_str();
  command.add_option("--burst-seconds", made.bursts.on_seconds, "bursty: mean length of a burst")
      ->check(between(kTiny, kMost))
      ->capture_default_str();
}

void add_batch_options(CLI::App& command, uint32_t& tokens, uint32_t& queries, uint32_t& fixed) {
  command.add_option("--max-batch-tokens", tokens, "of one batch")->check(CLI::Range(1, 65536))->capture_default_str();
  command.add_option("--max-batch-queries", queries, "of one batch")->check(CLI::Range(1, 65536))->capture_default_str();
  command.add_option("--fixed-queries", fixed, "of a batch of the strategy 'fixed'")->check(CLI::Range(1, 65536))->capture_default_str();
}

const CLI::IsMember kStrategies({"packed", "coordinated", "alpha", "beta", "fixed"});

CLI::App* add_simulate(CLI::App& app, SimulateOptions& options) {
  CLI::App* command = app.add_subcommand("simulate", "strategies side by side on a made-up or measured device, in virtual time");
  auto* table = command->add_option("--table", options.table, "latency table of the device (pets-bench profile)");
  command->add_option("--made-up", options.made_up, "device that was never measured")
      ->check(CLI::IsMember(made_up_names()))
      ->excludes(table)
      ->capture_default_str();
  command->add_option("--planner-table", options.planner_table, "what the scheduler plans with; else the device's own");
  command->add_option("--strategy", options.strategies, "strategies to compare")->delimiter(',')->check(kStrategies);
  command->add_option("--trace", options.trace, "poisson, bursty, uniform, at-once, or a file of JSON lines")->capture_default_str();
  command->add_option("--load", options.load, "of what full batches answer")->check(between(kTiny, 1000))->capture_default_str();
  command->add_option("--rate", options.rate, "queries a second, in place of a load")->check(between(kTiny, kMost));
  command->add_option("--seconds", options.made.seconds, "of the trace")->check(between(kTiny, kMost))->capture_default_str();
  command->add_option("--queries", options.made.queries, "in place of seconds: so many queries")->check(CLI::Range(1U, kMostTraceQueries));
  command->add_option("--seed", options.made.seed, "of the trace and the noise")->capture_default_str();
  add_trace_options(*command, options.made);
  command->add_option("--deadline-ms", options.deadline_ms, "of every query; 0: none")->check(between(0, 1e9))->capture_default_str();
  command->add_option("--noise", options.noise, "deviation of the logarithm of a batch's time")
      ->check(between(0, 2))
      ->capture_default_str();
  command->add_option("--overhead-us", options.overhead_us, "of the scheduler, for every batch")
      ->check(between(0, 1e9))
      ->capture_default_str();
  add_batch_options(*command, options.max_batch_tokens, options.max_batch_queries, options.fixed_queries);
  command->add_option("--max-queued", options.max_queued, "queries that wait or run at most")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--max-queued-tokens", options.max_queued_tokens, "of waiting queries; 0: 64 for each")
      ->check(CLI::Range(0, 1 << 26))
      ->capture_default_str();
  command->add_option("--overflow", options.overflow, "where there is no room")
      ->check(CLI::IsMember({"block", "fail", "shed"}))
      ->capture_default_str();
  command->add_option("--patience", options.patience_seconds, "of the strategy 'packed'; 0: ten full batches")
      ->check(between(0, kMost))
      ->capture_default_str();
  command->add_option("--outstanding", options.outstanding, "closed loop with so many queries; 0: open")->capture_default_str();
  command->add_option("--write-trace", options.write_trace, "file for the trace, as JSON lines");
  return command;
}

CLI::App* add_serve(CLI::App& app, ServeOptions& options) {
  CLI::App* command = app.add_subcommand("serve", "traces for real through a server with random weights, beside the simulation");
  command->add_option("--mode", options.modes, "open, closed, drain, lone")
      ->delimiter(',')
      ->check(CLI::IsMember({"open", "closed", "drain", "lone"}));
  command->add_option("--shape", options.shape, "encoder")->check(CLI::IsMember({"minilm", "bert-base"}))->capture_default_str();
  command->add_option("--threads", options.threads, "workers; 0: all processors")->capture_default_str();
  command->add_option("--strategy", options.strategies, "strategies to compare")->delimiter(',')->check(kStrategies);
  command->add_flag("--metrics,!--no-metrics", options.metrics, "the server counts; on by default");
  command->add_option("--table", options.table, "latency table of this machine; else fitted at load");
  command->add_option("--fit-seconds", options.fit_seconds, "of that fit")->check(between(kTiny, kMost))->capture_default_str();
  command->add_option("--calibrate-seconds", options.calibrate_seconds, "before each comparison, on other queries")
      ->check(between(0, kMost))
      ->capture_default_str();
  command->add_option("--rounds", options.rounds, "interleaved rounds")->check(CLI::Range(1, 1000))->capture_default_str();
  command->add_option("--seed", options.seed, "of weights, tokens and traces")->capture_default_str();
  add_trace_options(*command, options.made);
  add_batch_options(*command, options.max_batch_tokens, options.max_batch_queries, options.fixed_queries);
  command->add_option("--trace", options.traces, "open loop: poisson, bursty, uniform, or files")->delimiter(',');
  command->add_option("--load", options.loads, "open loop: of what full batches answer")->delimiter(',')->check(between(kTiny, 1000));
  command->add_option("--seconds", options.seconds, "open loop: of a trace")->check(between(kTiny, kMost))->capture_default_str();
  command->add_option("--deadline-batches", options.deadline_batches, "open loop: a deadline in full batches; 0: none")
      ->check(between(0, kMost))
      ->capture_default_str();
  command->add_option("--producers", options.producers, "closed loop")->check(CLI::Range(1, 256))->capture_default_str();
  command->add_option("--outstanding", options.outstanding, "closed loop: queries of each producer")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096));
  command->add_option("--closed-queries", options.closed_queries, "closed loop: of a round")
      ->check(CLI::Range(1U, kMostTraceQueries))
      ->capture_default_str();
  command->add_option("--drain-queries", options.drain_queries, "drain: queued at once")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--sigmas", options.sigmas, "drain: deviations of the length")->delimiter(',')->check(between(0, kMost));
  return command;
}

}  // namespace

std::function<std::optional<int>()> add_serving_commands(CLI::App& app) {
  struct Options {
    SimulateOptions simulate;
    ServeOptions serve;
  };
  const auto options = std::make_shared<Options>();
  const CLI::App* const simulate = add_simulate(app, options->simulate);
  const CLI::App* const serve = add_serve(app, options->serve);
  return [options, simulate, serve]() -> std::optional<int> {
    if (simulate->parsed()) return run_simulate(options->simulate);
    if (serve->parsed()) return run_serve(options->serve);
    return std::nullopt;
  };
}

}  // namespace pets::benchmarks
