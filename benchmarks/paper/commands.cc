#include <CLI/CLI.hpp>

#include "benchmarks/paper/paper.h"

namespace pets::benchmarks {
namespace {

CLI::App* add_command(CLI::App& app, const char* name, const char* text, PaperOptions& options) {
  CLI::App* command = app.add_subcommand(name, text);
  command->add_option("--shape", options.shape, "encoder")->check(CLI::IsMember({"minilm", "bert-base"}))->capture_default_str();
  command->add_option("--bundles", options.bundles, "folder of paper-bundles; empty: made for this call");
  command->add_option("--kind", options.kind, "tasks: all LoRA, or every type in turn")
      ->check(CLI::IsMember({"lora", "types"}))
      ->capture_default_str();
  command->add_option("--threads", options.threads, "workers; 0: all processors")->capture_default_str();
  command->add_option("--tasks", options.tasks, "tasks")->check(CLI::Range(1, 1024))->capture_default_str();
  command->add_option("--rounds", options.rounds, "interleaved rounds at most")->check(CLI::Range(1, 1000))->capture_default_str();
  command->add_option("--seconds", options.seconds, "no round is begun that would end later")->capture_default_str();
  command->add_option("--seed", options.seed, "of tokens and of who asks what")->capture_default_str();
  return command;
}

void add_queries(CLI::App* command, uint32_t* queries, uint32_t* length, const char* text) {
  command->add_option("--queries", *queries, text)->check(CLI::Range(1, 4096))->capture_default_str();
  command->add_option("--length", *length, "tokens a query")->check(CLI::Range(1, 512))->capture_default_str();
}

void add_precision(CLI::App* command, std::string* precision) {
  command->add_option("--precision", *precision, "of the base's linear weights")
      ->check(CLI::IsMember({"fp32", "fp16", "bf16", "int8"}))
      ->capture_default_str();
}

/// Of the experiments that run on either.
void add_backend(CLI::App* command, PaperOptions& options) {
  command->add_option("--backend", options.backend, "where to run")->check(CLI::IsMember({"cpu", "cuda"}))->capture_default_str();
  add_precision(command, &options.precision);
}

}  // namespace

PaperCommands::PaperCommands(CLI::App& app) {
  bundles_command_ = app.add_subcommand("paper-bundles", "the PetS paper's experiments: write the bundles that they run on");
  bundles_command_->add_option("--shape", bundles_.shape, "encoder")->check(CLI::IsMember({"minilm", "bert-base"}))->capture_default_str();
  bundles_command_->add_option("FOLDER", bundles_.folder, "where to")->required();
  bundles_command_->add_option("--tasks", bundles_.most_tasks, "in the largest bundle")->check(CLI::Range(1, 1024))->capture_default_str();
  add_precision(bundles_command_, &bundles_.precision);

  mixed_command_ = add_command(app, "paper-mixed", "the paper's figure 7: mixed batches against one call a task", mixed_);
  add_queries(mixed_command_, &mixed_.queries, &mixed_.length, "queries a task");
  add_backend(mixed_command_, mixed_);

  copies_command_ = add_command(app, "paper-copies", "the paper's figure 8: full copies against one base", copies_);
  add_queries(copies_command_, &copies_.queries, &copies_.length, "queries a task");
  add_backend(copies_command_, copies_);
  copies_command_->add_option("--way", copies_.way, "how tasks share the machine")
      ->check(CLI::IsMember({"sequential", "parallel", "shared"}))
      ->capture_default_str();

  tasks_command_ = add_command(app, "paper-tasks", "the paper's table 5: tasks until memory runs out", tasks_);
  add_backend(tasks_command_, tasks_);
  tasks_command_->add_option("--memory", tasks_.memory, "bytes (repeatable)")->capture_default_str();
  tasks_command_->add_option("--checked", tasks_.checked, "tasks that the real limit has room for")
      ->check(CLI::Range(4, 128))
      ->capture_default_str();

  threads_command_ = add_command(app, "paper-threads", "beside the paper's figure 11: one mixed batch by 1, 2, 4, ... threads", threads_);
  add_queries(threads_command_, &threads_.queries, &threads_.length, "queries in all");

  streams_command_ =
      add_command(app, "paper-streams", "the paper's figure 11 on a GPU: PET operators on 1 to 32 streams, and grouped", streams_);
  add_queries(streams_command_, &streams_.queries, &streams_.length, "queries in all");
  add_precision(streams_command_, &streams_.precision);

  batching_command_ = add_command(app, "batching", "the paper's figure 12: strategies that cut waiting queries into batches", batching_);
  batching_command_->add_option("--queries", batching_.queries, "that wait")->check(CLI::Range(1, 65536))->capture_default_str();
  batching_command_->add_option("--mean", batching_.mean, "of the length")->capture_default_str();
  batching_command_->add_option("--sigma", batching_.sigma, "standard deviation of the length")->capture_default_str();
  batching_command_->add_option("--fixed", batching_.fixed, "queries a batch of `fixed` (repeatable)")->capture_default_str();
  batching_command_->add_option("--table", batching_.table, "latency table; empty: fitted here");
  batching_command_->add_option("--keep-table", batching_.keep_table, "where the fitted one is kept for later calls");
  batching_command_->add_option("--fit-seconds", batching_.fit_seconds, "of that fitting")->capture_default_str();
  batching_command_->add_option("--max-batch-tokens", batching_.max_batch_tokens, "padding included")->capture_default_str();
  batching_command_->add_option("--max-batch-queries", batching_.max_batch_queries, "of one batch")->capture_default_str();
  batching_command_->add_flag("--json", batching_.json, "JSON instead of a table");
}

bool PaperCommands::run(int* status) {
  if (bundles_command_->parsed()) {
    *status = run_paper_bundles(bundles_);
  } else if (mixed_command_->parsed()) {
    *status = run_paper_mixed(mixed_);
  } else if (copies_command_->parsed()) {
    *status = run_paper_copies(copies_);
  } else if (tasks_command_->parsed()) {
    *status = run_paper_tasks(tasks_);
  } else if (threads_command_->parsed()) {
    *status = run_paper_threads(threads_);
  } else if (streams_command_->parsed()) {
    *status = run_paper_streams(streams_);
  } else if (batching_command_->parsed()) {
    *status = run_batching(batching_);
  } else {
    return false;
  }
  return true;
}

}  // namespace pets::benchmarks
