// pets-run: answers JSON lines from a bundle.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iterator>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "pets/pets.h"
#include "runtime/cli/interrupt.h"
#include "runtime/cli/json_writer.h"
#include "runtime/cli/options.h"
#include "runtime/cli/progress.h"
#include "runtime/cli/run_loop.h"
#include "runtime/cli/table_writer.h"
#include "runtime/platform/standard_streams.h"
#include "runtime/platform/utf8.h"

namespace pets::cli {
namespace {

constexpr uint32_t kMaxQueuedLines = 1024;        // a batch has at most 256
static_assert(kMaxLineTasks <= kMaxQueuedLines);  // each takes a place
constexpr std::size_t kMaxLines = 2048;           // those that wait to be printed among them

/// Says something to the person; where standard error is gone there is nobody to tell.
void message(std::string_view text) {
  constexpr std::size_t kMaxMessage = 4096;
  const std::string line = fmt::format("pets-run: {}\n", utf8::printable(text, kMaxMessage));  // one line, whatever a file is called
  (void)std::fwrite(line.data(), 1, line.size(), stderr);
}

/// A file descriptor that closes itself unless it is a standard one.
class File {
 public:
  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { (void)close(); }

  Status open(const std::string& path, bool write) {
    name_ = path;
    if (path == "-") {
      name_ = write ? "standard output" : "standard input";
      descriptor_ = write ? STDOUT_FILENO : STDIN_FILENO;
      return Status::ok();
    }
    descriptor_ = ::open(path.c_str(), write ? O_WRONLY | O_CREAT | O_CLOEXEC : O_RDONLY | O_CLOEXEC, 0666);
    if (descriptor_ < 0) return Status::error(ErrorCode::kIo, "cannot open %s: %s", path.c_str(), std::strerror(errno));
    owned_ = true;
    return Status::ok();
  }
  /// Says whether what was written is really there: some file systems report a full disk only here.
  Status close() {
    if (!owned_) return Status::ok();
    owned_ = false;
    return ::close(descriptor_) == 0 ? Status::ok()
                                     : Status::error(ErrorCode::kIo, "cannot write %s: %s", name_.c_str(), std::strerror(errno));
  }
  int descriptor() const { return descriptor_; }
  const std::string& name() const { return name_; }
  bool is_terminal() const { return ::isatty(descriptor_) == 1; }
  struct stat stat() const {
    struct stat result = {};
    (void)::fstat(descriptor_, &result);
    return result;
  }

 private:
  int descriptor_ = -1;
  bool owned_ = false;
  std::string name_;
};

struct Loaded {
  std::shared_ptr<Model> model;
  bool complete = true;  ///< every task of every file serves
};

bool reads_input(const Options& options) { return !options.self_check || options.has_input; }

ServerOptions server_options(const Options& options) {
  constexpr uint32_t kTracedBatches = 1U << 16, kCountedTasks = 1024;
  ServerOptions server;
  server.session.threads = options.threads;
  if (options.max_batch_tokens != 0) server.session.max_batch_tokens = options.max_batch_tokens;
  server.session.device_graphs = options.device_graphs;
  server.session.device_tf32 = options.device_tf32;
  parse_strategy(options.strategy, &server.strategy);
  server.max_queued = kMaxQueuedLines;
  server.latency_table = options.profile;
  server.fit_seconds = 0;  // the first answer comes before a measurement would be over
  if (!options.metrics.empty()) server.metrics_tasks = kCountedTasks;
  if (!options.trace.empty()) server.trace_batches = kTracedBatches;
  return server;
}

/// What the bundle and its deltas need. A delta that cannot be planned does not stop the others: loading will refuse it with the reason.
Result<Plan> plan_all(const Options& options, const ModelOptions& model_options) {
  const auto planned_with = [&](const std::vector<std::string>& deltas) {
    return reads_input(options) ? Server::plan(options.bundle.c_str(), model_options, server_options(options), deltas)
                                : plan(options.bundle.c_str(), model_options, server_options(options).session, deltas);
  };
  Result<Plan> planned = planned_with(options.deltas);
  if (planned || options.deltas.empty()) return planned;
  std::vector<std::string> good;
  for (const std::string& delta : options.deltas) {
    good.push_back(delta);
    if (!planned_with(good)) good.pop_back();
  }
  return planned_with(good);
}

Result<Loaded> load(const Options& options) {
  ModelOptions model_options;
  model_options.backend = options.backend == "cuda" ? Backend::kCuda : Backend::kCpu;
  parse_weight_memory(options.weight_memory, &model_options.weight_memory);
  model_options.copy = options.copy;
  model_options.memory_limit = options.memory_limit;

  if (options.memory_limit != 0) {
    // A session counts too: ask for the sum before anything is loaded.
    const Result<Plan> planned = plan_all(options, model_options);
    if (!planned) return planned.status();
    if (planned->total_bytes > options.memory_limit) {
      const uint64_t working_bytes = planned->arena_bytes + planned->server_bytes;
      return Status::error(ErrorCode::kResourceExhausted,
                           "%s needs %llu bytes (%llu mapped, %llu of tables, %llu to compute and queue in, %llu on the device), the limit "
                           "is %llu",
                           options.bundle.c_str(), static_cast<unsigned long long>(planned->total_bytes),
                           static_cast<unsigned long long>(planned->mapped_bytes), static_cast<unsigned long long>(planned->model_bytes),
                           static_cast<unsigned long long>(working_bytes), static_cast<unsigned long long>(planned->device_bytes),
                           static_cast<unsigned long long>(options.memory_limit));
    }
  }
  Loaded loaded;
  Result<std::shared_ptr<Model>> model = Model::load(options.bundle.c_str(), model_options);
  if (!model) return model.status();
  loaded.model = std::move(model).value();
  for (const std::string& delta : options.deltas) {
    if (const Status added = loaded.model->add_tasks(delta.c_str(), false, true); !added) {
      message(fmt::format("{}; going on without its tasks", added.message()));
      loaded.complete = false;
    }
  }
  for (const Model::Quarantined& task : loaded.model->quarantined()) {
    message(fmt::format("task {} is damaged and left out: {}", task.name, task.status.message()));
    loaded.complete = false;
  }
  return loaded;
}

/// One line a task; returns whether all are well.
bool self_check(const Options& options, const Loaded& loaded, Output& out) {
  const Result<std::unique_ptr<Session>> session = Session::create(loaded.model, server_options(options).session);
  if (!session) {
    message(session.status().message());
    return false;
  }
  const Result<std::vector<Model::SelfCheck>> checks = loaded.model->self_check(**session);
  if (!checks) {
    message(checks.status().message());
    return false;
  }
  if (const Model& model = *loaded.model; !model.device().empty()) {
    const std::string_view reason = model.weight_memory_reason();
    message(fmt::format("on {}, weight memory: {}{}", model.device(), weight_memory_name(model.weight_memory()),
                        reason.empty() ? "" : fmt::format(" ({})", reason)));
  }
  bool well = true;
  for (const Model::SelfCheck& check : *checks) {
    if (!check.status) {
      out.append(fmt::format("{}: FAILED: {}\n", check.task, check.status.message()));
      well = false;
    } else if (check.queries == 0) {
      out.append(fmt::format("{}: carries no goldens\n", check.task));
    } else {
      out.append(fmt::format("{}: ok, {} queries, largest error {:.2g}{}\n", check.task, check.queries, check.largest_error,
                             check.other_precision ? " (goldens of the base in another precision)" : ""));
    }
  }
  out.flush();
  return well;
}

std::size_t terminal_width(int descriptor) {
  winsize size = {};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* const columns = std::getenv("COLUMNS");
  const int width = columns == nullptr ? 0 : std::atoi(columns);
  return width > 0 ? static_cast<std::size_t>(width) : 100;
}

TableLayout layout_for(const Model& model, int descriptor) {
  std::size_t task_width = 0;
  std::size_t answer_width = 0;
  for (const auto& task : model.tasks()) {
    task_width = std::max(task_width, display_width(task->name));
    const bool long_answers = task->head != HeadType::kSequenceClassification && task->head != HeadType::kRegression;
    if (long_answers) answer_width = 32;
    for (const std::string& label : task->labels) answer_width = std::max(answer_width, display_width(label));
  }
  return table_layout(terminal_width(descriptor), task_width, answer_width);
}

/// Returns whether every line was answered and written.
bool answer_input(const Options& options, Server& server, File& input, File& output, Output& out, const InterruptGuard& interrupt) {
  std::unique_ptr<AnswerWriter> writer;
  if (options.table) {
    writer = std::make_unique<TableWriter>(out, layout_for(server.model(), output.descriptor()));
  } else {
    writer = std::make_unique<JsonLinesWriter>(out, options.logits);
  }
  if (input.is_terminal() && ::isatty(STDERR_FILENO) == 1) message("reading JSON lines from the terminal; Ctrl-D ends");

  LineReader reader(input.descriptor(), input.name(), kMaxLineBytes, interrupt.descriptor());
  RunLoop loop(
      reader, *writer, out,
      [&](std::span<const std::string_view> tasks, const Query& query, Server::AnswerFn on_answer, void* context) {
        SubmitOptions submit;
        if (options.deadline_ms != 0) submit.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(options.deadline_ms);
        return server.submit(tasks, query, submit, on_answer, context).status();
      },
      kMaxLines);
  const bool show_progress = ::isatty(STDERR_FILENO) == 1 && !output.is_terminal() && !input.is_terminal();
  Progress progress(show_progress, S_ISREG(input.stat().st_mode) ? static_cast<uint64_t>(input.stat().st_size) : 0);
  const RunEnd end = loop.run([] { return InterruptGuard::signal() != 0; },
                              [&](const RunCounts& counts) { progress.update(counts.lines, counts.bytes_read); });
  progress.clear();

  const RunCounts& counts = loop.counts();
  if (counts.failed != 0) {
    message(fmt::format("{} of {} lines failed, the first is line {}", counts.failed, counts.lines, counts.first_failed_line));
  }
  if (end == RunEnd::kInputError) message(reader.status().message());
  if (end == RunEnd::kInterrupted) message(fmt::format("interrupted after {} lines", counts.lines));
  return counts.failed == 0 && end != RunEnd::kInputError && end != RunEnd::kOutputError;
}

bool same_file(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

/// An error where `path`, a regular file that is there, is one that is read: by name, or standard input redirected from it.
Status check_not_read(const Options& options, const char* option, const std::string& path, const File* input) {
  struct stat to = {};
  if (path.empty() || path == "-" || ::stat(path.c_str(), &to) != 0 || !S_ISREG(to.st_mode)) return Status::ok();
  bool overwrites = input != nullptr && same_file(input->stat(), to);
  std::vector<std::string> read = options.deltas;
  read.push_back(options.bundle);
  if (!options.profile.empty()) read.push_back(options.profile);
  for (const std::string& each : read) {
    struct stat from = {};
    overwrites |= ::stat(each.c_str(), &from) == 0 && same_file(from, to);
  }
  if (!overwrites) return Status::ok();
  return Status::error(ErrorCode::kInvalidArgument, "%s %s would overwrite what is read", option, path.c_str());
}

/// An error where two of what is written are one regular file.
Status check_apart(const Options& options) {
  const std::pair<const char*, const std::string&> written[] = {
      {"--output", options.output}, {"--metrics", options.metrics}, {"--trace", options.trace}};
  for (size_t i = 0; i < std::size(written); ++i) {
    for (size_t j = i + 1; j < std::size(written); ++j) {
      const auto& [first, path] = written[i];
      const auto& [second, other] = written[j];
      struct stat a = {}, b = {};
      const bool there = ::stat(path.c_str(), &a) == 0, also = ::stat(other.c_str(), &b) == 0;
      const bool same = there && also ? S_ISREG(a.st_mode) && same_file(a, b) : !there && !also && path == other;
      if (path.empty() || path == "-" || !same) continue;
      return Status::error(ErrorCode::kInvalidArgument, "%s and %s are both %s: each needs a file of its own", first, second,
                           other.c_str());
    }
  }
  return Status::ok();
}

/// An error where `path`, which is written at the end, cannot be: better told before the answers than after them.
Status check_writable(const std::string& path) {
  if (path.empty() || path == "-") return Status::ok();
  struct stat there = {};
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  if (::stat(path.c_str(), &there) == 0) {
    if (S_ISDIR(there.st_mode)) errno = EISDIR;
    if (!S_ISDIR(there.st_mode) && ::access(path.c_str(), W_OK) == 0) return Status::ok();
  } else if (errno == ENOENT && ::access(folder.c_str(), W_OK | X_OK) == 0) {
    return Status::ok();
  }
  return Status::error(ErrorCode::kIo, "cannot open %s: %s", path.c_str(), std::strerror(errno));
}

Status open_files(const Options& options, bool reads_input, File& input, File& output) {
  if (reads_input) {
    if (Status opened = input.open(options.input, false); !opened) return opened;
  }
  if (Status opened = output.open(options.output, true); !opened) return opened;
  const File* const read = reads_input ? &input : nullptr;
  if (Status status = check_not_read(options, "--output", options.output, read); !status) return status;
  if (Status status = check_not_read(options, "--metrics", options.metrics, read); !status) return status;
  if (Status status = check_not_read(options, "--trace", options.trace, read); !status) return status;
  if (Status status = check_apart(options); !status) return status;
  for (const std::string* path : {&options.metrics, &options.trace}) {
    if (Status status = check_writable(*path); !status) return status;
  }
  if (options.output == "-" || !S_ISREG(output.stat().st_mode)) return Status::ok();
  if (::ftruncate(output.descriptor(), 0) != 0) {
    return Status::error(ErrorCode::kIo, "cannot write %s: %s", options.output.c_str(), std::strerror(errno));
  }
  return Status::ok();
}

/// Writes a file beside the answers; returns whether it is there, or was not asked for.
template <typename Text>
bool write_report(const std::string& path, const Text& text) {
  if (path.empty()) return true;
  File file;
  Status status = file.open(path, true);
  if (status) {
    Output out(file.descriptor(), path);
    if (::ftruncate(file.descriptor(), 0) != 0 && errno != EINVAL) {  // a pipe has no length
      status = Status::error(ErrorCode::kIo, "cannot write %s: %s", path.c_str(), std::strerror(errno));
    }
    out.append(text());
    out.flush();
    if (status) status = out.status();
    if (const Status closed = file.close(); status) status = closed;
  }
  if (!status) message(status.message());
  return status.is_ok();
}

int run(int argc, char** argv) {
  Options options;
  if (const std::optional<int> exit_status = parse_options(argc, argv, options)) return *exit_status;
  InterruptGuard interrupt;
  if (const Status installed = interrupt.install(); !installed) {
    message(installed.message());
    return kExitFailed;
  }
  Result<Loaded> loaded = load(options);
  if (!loaded) {
    message(loaded.status().message());
    return kExitFailed;
  }
  bool well = loaded->complete;
  std::unique_ptr<Server> server;
  if (reads_input(options)) {
    if (options.self_check) {
      Output report(STDERR_FILENO, "standard error");
      well &= self_check(options, *loaded, report);
    }
    Result<std::unique_ptr<Server>> made = Server::create(loaded->model, server_options(options));
    if (!made) {
      message(made.status().message());
      return kExitFailed;
    }
    server = std::move(made).value();
  }
  File input;
  File output;
  // Where the other end of a pipe is missing, open waits for it.
  const Status opened = InterruptGuard::signal() != 0 ? Status() : open_files(options, server != nullptr, input, output);
  if (InterruptGuard::signal() != 0) {
    message("interrupted before the first line");
    return 128 + InterruptGuard::signal();
  }
  if (!opened) {
    message(opened.message());
    return kExitFailed;
  }
  Output out(output.descriptor(), output.name());
  if (server != nullptr) {
    well &= answer_input(options, *server, input, output, out, interrupt);
    well &= write_report(options.metrics, [&] { return server->metrics_text(); });
    well &= write_report(options.trace, [&] { return server->trace_json(); });
  } else {
    well &= self_check(options, *loaded, out);
  }

  out.flush();
  const Status closed = output.close();
  if (const Status& written = out.status() ? closed : out.status(); !written) {
    message(written.message());
    well = false;
  }
  if (InterruptGuard::signal() != 0) return 128 + InterruptGuard::signal();
  return well ? 0 : kExitFailed;
}

}  // namespace
}  // namespace pets::cli

int main(int argc, char** argv) {
  pets::platform::occupy_standard_streams();
  pets::platform::report_failed_writes();
  try {
    return pets::cli::run(argc, argv);
  } catch (const std::bad_alloc&) {
    pets::cli::message("out of memory");
    return pets::cli::kExitFailed;
  } catch (const std::exception& error) {
    pets::cli::message(error.what());
    return pets::cli::kExitFailed;
  }
}
