#include "runtime/cli/options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <iostream>
#include <limits>
#include <system_error>

#include "pets/version.h"

namespace pets::cli {
namespace {

constexpr const char* kFooter =
    R"(Input: one JSON object a line, at most 4 MiB:
  {"id": any, "task": "name", "text": "...", "text_pair": "..."}
"ids": [token ids] may stand in place of the texts. For question answering "text" is the question, "text_pair" the context.
"tasks": ["name", ...] in place of "task" asks many tasks about one text: {"id": ..., "results": [{"task": ...}, ...]}.
Output: one object a line, in input order; a line that cannot be answered gets {"id": ..., "error": "..."} in its place.
Exit status: 0 all well, 1 something failed (one bad line too), 2 wrong usage. PETS_ISA forces an instruction set.)";

}  // namespace

std::optional<uint64_t> parse_size(const std::string& text) {
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, code] = std::from_chars(text.data(), end, value);
  if (code != std::errc()) return std::nullopt;
  unsigned shift = 0;
  if (rest != end) {
    switch (*rest) {
      case 'K':
      case 'k':
        shift = 10;
        break;
      case 'M':
      case 'm':
        shift = 20;
        break;
      case 'G':
      case 'g':
        shift = 30;
        break;
      default:
        return std::nullopt;
    }
    if (rest + 1 != end) return std::nullopt;
  }
  if (value > (std::numeric_limits<uint64_t>::max() >> shift)) return std::nullopt;
  return value << shift;
}

std::optional<int> parse_options(int argc, char** argv, Options& options) {
  CLI::App app("Answers queries of many tasks from one bundle.", "pets-run");
  app.footer(kFooter);
  app.set_version_flag("--version", "pets-run " PETS_VERSION_STRING);
  app.add_option("FILE", options.bundle, "bundle that holds the base")->required();
  app.add_option("DELTA", options.deltas, "delta bundles whose tasks are added");
  CLI::Option* const input = app.add_option("--input", options.input, "JSON lines to answer; - is standard input")->type_name("FILE|-");
  app.add_option("--output", options.output, "where the answers go; - is standard output")->type_name("FILE|-");
  CLI::Option* const logits = app.add_flag("--logits", options.logits, "add the heads' raw outputs to the JSON lines");
  app.add_flag("--table", options.table, "print an aligned table for people in place of JSON lines")->excludes(logits);
  app.add_option("--backend", options.backend, "where to run")->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--weight-memory", options.weight_memory, "with --backend cuda: where the GPU reads a base that was packed for it")
      ->check(CLI::IsMember({"auto", "host-page-tables", "registered", "copy"}))
      ->capture_default_str();
  app.add_flag("--tf32", options.device_tf32, "cuda: multiply an fp32 base's weights on tensor cores, rounded to 10 bits of mantissa");
  app.add_flag_callback(
      "--no-graphs", [&options] { options.device_graphs = false; }, "cuda: queue every launch of every batch, capture no graphs");
  app.add_option("--threads", options.threads, "threads; by default one per processor")->type_name("N")->check(CLI::Range(1, 1024));
  app.add_option("--max-batch-tokens", options.max_batch_tokens, "tokens that one batch holds at most; bounds the memory")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 22));
  app.add_option_function<std::string>(
         "--memory-limit",
         [&options](const std::string& text) {
           const std::optional<uint64_t> size = parse_size(text);
           if (!size || *size == 0)
             throw CLI::ValidationError("--memory-limit", "'" + text + "' is no size: give bytes, or a number followed by K, M or G");
           options.memory_limit = *size;
         },
         "refuse to load what needs more; K, M, G are powers of 1024")
      ->type_name("SIZE");
  app.add_option("--strategy", options.strategy, "how waiting lines are cut into batches")
      ->check(CLI::IsMember({"packed", "coordinated", "alpha", "beta", "fixed"}))
      ->capture_default_str();
  app.add_option("--deadline-ms", options.deadline_ms, "a line that has not begun to run this long after it was read gets an error")
      ->type_name("N")
      ->check(CLI::Range(uint64_t{1}, uint64_t{86'400'000}));
  app.add_option("--profile", options.profile, "latency table of this device, made by `pets-bench profile`")->type_name("FILE");
  app.add_option("--metrics", options.metrics, "write what was counted, as Prometheus text, at the end")->type_name("FILE");
  app.add_option("--trace", options.trace, "write the batches that ran, as a Chrome trace, at the end")->type_name("FILE");
  app.add_flag("--copy", options.copy, "copy the bundle into memory: safe from a file that is truncated underneath");
  app.add_flag("--self-check", options.self_check, "run the goldens that each task carries; without --input nothing is read");
  try {
    app.parse(argc, argv);
    if (options.backend != "cuda" && options.weight_memory != "auto") {
      throw CLI::ValidationError("--weight-memory", "expected with --backend cuda, found --backend " + options.backend);
    }
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error) == 0 ? 0 : kExitUsage;
    if (std::cout.flush()) return status;
    std::cerr << "pets-run: cannot write standard output\n";  // --help on a full disk
    return kExitFailed;
  }
  options.has_input = input->count() > 0;
  return std::nullopt;
}

}  // namespace pets::cli
