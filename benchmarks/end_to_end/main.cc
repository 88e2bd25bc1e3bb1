#include <CLI/CLI.hpp>

#include "benchmarks/end_to_end/experiments.h"
#include "benchmarks/paper/paper.h"
#include "benchmarks/serving/commands.h"

#include "pets/version.h"

int main(int argc, char** argv) {
  using namespace pets::benchmarks;
  CLI::App app{"pets-bench: measures libpets on this machine with random weights of real shapes"};
  app.set_version_flag("--version", std::string("pets-bench ") + PETS_VERSION_STRING);
  app.require_subcommand(1);

  MixedBatchOptions mixed;
  CLI::App* mixed_batch = app.add_subcommand("mixed-batch", "base alone against mixed tasks on the same packed tokens");
  mixed_batch->add_option("--shape", mixed.shape, "encoder")->check(CLI::IsMember({"minilm", "bert-base"}))->capture_default_str();
  mixed_batch->add_option("--tasks", mixed.tasks, "tasks in the mix")->check(CLI::Range(1, 4096))->capture_default_str();
  mixed_batch->add_option("--queries", mixed.queries_per_task, "queries a task")->check(CLI::Range(1, 4096))->capture_default_str();
  mixed_batch->add_option("--length", mixed.length, "tokens a query")->check(CLI::Range(1, 512))->capture_default_str();
  mixed_batch->add_option("--sigma", mixed.sigma, "standard deviation of the length")->capture_default_str();
  mixed_batch->add_option("--threads", mixed.threads, "workers; 0: all processors")->capture_default_str();
  mixed_batch->add_option("--rounds", mixed.rounds, "interleaved rounds")->check(CLI::Range(1, 1000))->capture_default_str();
  std::string precision = "fp32";
  mixed_batch->add_option("--precision", precision, "of the base's linear weights")
      ->check(CLI::IsMember({"fp32", "fp16", "bf16", "int8"}))
      ->capture_default_str();
  mixed_batch->add_option("--backend", mixed.backend, "where to run")->check(CLI::IsMember({"cpu", "cuda"}))->capture_default_str();
  mixed_batch->add_option("--calls", mixed.calls, "rounds of one call a task, for comparison")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  mixed_batch->add_option("--only", mixed.only, "rows whose name has this in it, beside the base alone");
  mixed_batch->add_option("--seed", mixed.seed, "of weights and tokens")->capture_default_str();

  LoadTimeOptions load;
  CLI::App* load_time = app.add_subcommand("load-time", "size of a bundle of LoRA tasks, and time until it is ready, pages warm");
  load_time->add_option("--tasks", load.tasks, "LoRA tasks")->check(CLI::Range(1, 4096))->capture_default_str();
  load_time->add_option("--rounds", load.rounds, "rounds")->check(CLI::Range(1, 1000))->capture_default_str();

  WorkloadOptions workload;
  CLI::App* workloads = app.add_subcommand("workload", "answer commands on standard input with the times of a bundle's workloads");
  workloads->add_option("BUNDLE", workload.bundle, "the bundle")->required();
  workloads->add_option("WORKLOADS", workload.workloads, "JSON: tasks and token ids of each workload's queries")->required();
  workloads->add_option("--threads", workload.threads, "workers; 0: all processors")->capture_default_str();
  workloads->add_option("--max-batch-tokens", workload.max_batch_tokens, "of one packed batch")->capture_default_str();
  workloads->add_option("--max-batch-queries", workload.max_batch_queries, "of one packed batch")->capture_default_str();

  ProfileOptions profile;
  CLI::App* profiles = app.add_subcommand("profile", "measure the latency table that pets-run --profile and servers read");
  profiles->add_option("BUNDLE", profile.bundle, "a bundle with the base")->required();
  profiles->add_option("-o,--output", profile.output, "the table")->required();
  profiles->add_option("--threads", profile.threads, "workers; 0: all processors")->capture_default_str();
  profiles->add_option("--backend", profile.backend, "where to run")->check(CLI::IsMember({"cpu", "cuda"}))->capture_default_str();
  profiles->add_option("--max-batch-tokens", profile.max_batch_tokens, "of the largest batch")
      ->check(CLI::Range(64, 1 << 20))
      ->capture_default_str();
  profiles->add_flag("--verbose", profile.verbose, "print every point");
  profiles->add_option("--seconds", profile.seconds, "to measure for")->check(CLI::Range(0.0, 86400.0))->capture_default_str();

  CapacityOptions capacity;
  CLI::App* capacities = app.add_subcommand("capacity", "tasks of each PET type in the memory where full copies fit few");
  capacities->add_option("--shape", capacity.shape, "encoder")->check(CLI::IsMember({"minilm", "bert-base"}))->capture_default_str();
  capacities->add_option("--copies", capacity.copies, "full copies to compare with")->check(CLI::Range(2, 1000))->capture_default_str();

  GrowthOptions growth;
  CLI::App* growths = app.add_subcommand("growth", "seconds against tasks, tokens and threads, as JSON");
  growths->add_option("--threads", growth.threads, "workers; 0: all processors")->capture_default_str();
  growths->add_option("--rounds", growth.rounds, "interleaved rounds")->check(CLI::Range(1, 1000))->capture_default_str();

  FanOutOptions fan;
  CLI::App* fan_out = app.add_subcommand("fan-out", "many tasks on one text, sharing what they do not change, against separate queries");
  fan_out->add_option("--shape", fan.shape, "encoder")->check(CLI::IsMember({"minilm", "bert-base"}))->capture_default_str();
  fan_out->add_option("--tasks", fan.tasks, "tasks on each text")->check(CLI::Range(2, 256))->capture_default_str();
  fan_out->add_option("--texts", fan.texts, "texts of the larger batches")->check(CLI::Range(2, 4096))->capture_default_str();
  fan_out->add_option("--threads", fan.threads, "workers; 0: all processors")->capture_default_str();
  fan_out->add_option("--rounds", fan.rounds, "interleaved rounds")->check(CLI::Range(1, 1000))->capture_default_str();
  std::string fan_precision = "fp32";
  fan_out->add_option("--precision", fan_precision, "of the base's linear weights")
      ->check(CLI::IsMember({"fp32", "fp16", "bf16", "int8"}))
      ->capture_default_str();
  const auto run_serving = add_serving_commands(app);
  PaperCommands paper(app);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  pets::converter::parse_precision(precision, &mixed.precision);
  pets::converter::parse_precision(fan_precision, &fan.precision);
  if (const std::optional<int> status = run_serving(); status) return *status;
  if (workloads->parsed()) return run_workloads(workload);
  if (profiles->parsed()) return run_profile(profile);
  if (capacities->parsed()) return run_capacity(capacity);
  if (growths->parsed()) return run_growth(growth);
  if (fan_out->parsed()) return run_fan_out(fan);
  if (int status = 0; paper.run(&status)) return status;
  return mixed_batch->parsed() ? run_mixed_batch(mixed) : run_load_time(load);
}
