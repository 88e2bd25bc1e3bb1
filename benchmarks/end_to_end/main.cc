#include <CLI/CLI.hpp>

#include "benchmarks/end_to_end/experiments.h"

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
  mixed_batch->add_option("--seed", mixed.seed, "of weights and tokens")->capture_default_str();

  LoadTimeOptions load;
  CLI::App* load_time = app.add_subcommand("load-time", "size of a bundle of LoRA tasks, and time until it is ready, pages warm");
  load_time->add_option("--tasks", load.tasks, "LoRA tasks")->check(CLI::Range(1, 4096))->capture_default_str();
  load_time->add_option("--rounds", load.rounds, "rounds")->check(CLI::Range(1, 1000))->capture_default_str();

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  pets::converter::parse_precision(precision, &mixed.precision);
  return mixed_batch->parsed() ? run_mixed_batch(mixed) : run_load_time(load);
}
