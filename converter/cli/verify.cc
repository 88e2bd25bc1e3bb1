#include "converter/cli/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "converter/check/expected_file.h"
#include "converter/check/model_runner.h"
#include "converter/files/message_text.h"
#include "runtime/bundle/bundle_file.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

constexpr double kLogitFloor = 1e-6;
constexpr size_t kBatch = 128;  // lines that are held at a time

using FilePointer = std::shared_ptr<const bundle::BundleFile>;

/// A bundle with a base, and the delta bundles that belong to it.
struct Group {
  FilePointer base;
  std::vector<FilePointer> deltas;
};

/// Opens every file with all its checksums. Damaged files and tasks are reported.
std::vector<FilePointer> open_files(const std::vector<std::string>& paths, Console& console) {
  std::vector<FilePointer> files;
  for (const std::string& path : paths) {
    auto file = bundle::BundleFile::open(path.c_str(), false);
    if (!file) {
      console.error(file.status().message());
      continue;
    }
    for (const bundle::TaskSegment& task : (*file)->tasks()) {
      if (!task.status) console.error(task.status.message());
    }
    files.push_back(std::move(file).value());
  }
  return files;
}

std::vector<Group> group_files(const std::vector<FilePointer>& files, Console& console) {
  std::vector<Group> groups;
  for (const FilePointer& file : files) {
    if (file->has_base()) groups.push_back({file, {}});
  }
  for (const FilePointer& file : files) {
    if (file->has_base()) continue;
    const auto group =
        std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.base->base_fingerprint() == file->base_fingerprint(); });
    if (group != groups.end()) {
      group->deltas.push_back(file);
    } else {
      console.error(
          fmt::format("{}: its base {} is in none of the files: name the base bundle beside it", file->path(), file->base_fingerprint()));
    }
  }
  return groups;
}

/// Runs the goldens of the tasks that are not `done`, and adds them there.
void check_goldens(ModelRunner& runner, std::set<std::string>& done, Console& console) {
  const auto checks = runner.model().self_check(runner.session());
  if (!checks) {
    console.error(checks.status().message());
    return;
  }
  for (const Model::SelfCheck& check : *checks) {
    if (!done.insert(check.task).second) continue;
    if (!check.status) {
      console.error(check.status.message());
    } else if (check.queries == 0) {
      fmt::print("{}: carries no golden queries\n", check.task);
    } else {
      fmt::print("{}: {} golden queries, largest relative error {:.3g}: ok{}\n", check.task, check.queries, check.largest_error,
                 check.other_precision ? " (goldens of the base in another precision)" : "");
    }
  }
}

/// What one task's expected lines add up to.
struct Comparison {
  size_t lines = 0;
  double largest_logit = kLogitFloor, largest_error = 0;
};

/// Compares the answers to EXPECTED.jsonl with the logits in it.
class ExpectedCheck {
 public:
  ExpectedCheck(ModelRunner& runner, const VerifyOptions& options, Console& console)
      : runner_(runner), options_(options), console_(console) {}

  /// A bad line is reported and left out; the others are compared.
  Status run() {
    PETS_RETURN_IF_ERROR(read_expected(options_.against, [this](Result<ExpectedLine> line) {
      if (!line) {
        console_.error(line.status().message());
      } else if (runner_.model().find_task(line->task) == nullptr) {
        console_.error(fmt::format("{}: no such task: '{}'", where(*line), utf8::printable(line->task)));
      } else {
        pending_.push_back(std::move(line).value());
      }
      return pending_.size() == kBatch ? flush() : Status();
    }));
    return flush();
  }

  void report() const {
    if (comparisons_.empty()) {  // nothing was compared: that is no success
      console_.error(options_.against + ": expected lines with logits, found none");
      return;
    }
    for (const auto& [task, comparison] : comparisons_) {
      const double relative = comparison.largest_error / comparison.largest_logit;
      const bool good = relative <= options_.tolerance;
      fmt::print("{}: {} expected lines, largest relative error {:.3g}: {}\n", task, comparison.lines, relative, good ? "ok" : "FAILED");
      if (!good) {
        console_.error(fmt::format("task '{}': largest relative error {:.3g} against {}, tolerance {:.3g}", task, relative,
                                   options_.against, options_.tolerance));
      }
    }
    size_t untold = 0;
    for (const auto& task : runner_.model().tasks()) untold += static_cast<size_t>(!comparisons_.contains(task->name));
    if (untold != 0) console_.note(fmt::format("{}: no lines for {} of the tasks", options_.against, untold));
  }

 private:
  std::string where(const ExpectedLine& line) const { return options_.against + ":" + std::to_string(line.number); }

  Status flush() {
    std::vector<Query> queries;
    queries.reserve(pending_.size());
    for (const ExpectedLine& line : pending_) {
      queries.push_back(query_of(line.task, line.query));
      queries.back().has_ids = line.has_ids;
    }
    PETS_RETURN_IF_ERROR(runner_.run(queries, [&](size_t index, const Answer& answer) {
      if (const Status compared = compare(pending_[index], answer); !compared) console_.error(compared.message());
    }));
    pending_.clear();
    return {};
  }

  Status compare(const ExpectedLine& line, const Answer& answer) {
    if (!answer.status) return Status::error(answer.status.code(), "%s: %s", where(line).c_str(), answer.status.c_str());
    const uint64_t found = answer.logits.size();
    const pets::HeadType head = answer.task->head;
    std::vector<uint64_t> shape = {found};
    if (head == pets::HeadType::kTokenClassification) shape = {found / answer.task->outputs, answer.task->outputs};
    if (head == pets::HeadType::kQuestionAnswering) shape = {2, found / 2};
    if (shape != line.shape) {
      return Status::error(ErrorCode::kInvalidArgument, "%s: 'logits' has shape %s, task '%s' answers %s", where(line).c_str(),
                           shape_text(line.shape).c_str(), line.task.c_str(), shape_text(shape).c_str());
    }
    Comparison& comparison = comparisons_[line.task];
    ++comparison.lines;
    for (size_t i = 0; i < found; ++i) {
      const double difference = std::fabs(static_cast<double>(answer.logits[i]) - line.logits[i]);
      comparison.largest_logit = std::max(comparison.largest_logit, std::fabs(line.logits[i]));
      comparison.largest_error = std::isfinite(difference) ? std::max(comparison.largest_error, difference) : HUGE_VAL;
    }
    return {};
  }

  ModelRunner& runner_;
  const VerifyOptions& options_;
  Console& console_;
  std::vector<ExpectedLine> pending_;
  std::map<std::string, Comparison> comparisons_;
};

/// Loads a group and checks the goldens of all its tasks. Deltas are added one after another, so that one that does not fit is reported and
/// the others are checked; a task is checked before a delta replaces it.
Result<ModelRunner> open_and_check(const Group& group, Console& console) {
  PETS_ASSIGN_OR_RETURN(const std::shared_ptr<Model> model, Model::load(group.base->path().c_str()));
  std::set<std::string> done;
  for (const FilePointer& delta : group.deltas) {
    std::vector<std::string> replaced;
    for (const bundle::TaskSegment& task : delta->tasks()) {
      if (model->find_task(task.name) != nullptr) replaced.push_back(task.name);
    }
    if (!replaced.empty()) {
      PETS_ASSIGN_OR_RETURN(ModelRunner before, ModelRunner::attach(model));
      check_goldens(before, done, console);
      console.note(fmt::format("{}: replaces task '{}'{}; an application can do that, pets-run takes no two tasks of one name",
                               delta->path(), replaced[0], replaced.size() == 1 ? "" : fmt::format(" and {} more", replaced.size() - 1)));
    }
    if (const Status added = model->add_tasks(delta->path().c_str(), true); !added) {
      console.error(added.message());
    } else {
      for (const std::string& name : replaced) done.erase(name);
    }
  }
  PETS_ASSIGN_OR_RETURN(ModelRunner runner, ModelRunner::attach(model));
  check_goldens(runner, done, console);
  return runner;
}

void check_group(const Group& group, const VerifyOptions& options, Console& console) {
  Result<ModelRunner> runner = open_and_check(group, console);
  if (!runner) {
    console.error(runner.status().message());
    return;
  }
  if (options.against.empty()) return;
  ExpectedCheck check(*runner, options, console);
  if (const Status compared = check.run(); !compared) {
    console.error(compared.message());
    return;
  }
  check.report();
}

}  // namespace

bool verify(const VerifyOptions& options, Console& console) {
  const std::vector<FilePointer> files = open_files(options.files, console);
  const std::vector<Group> groups = group_files(files, console);
  if (!options.against.empty() && groups.size() > 1) {
    console.error("--against compares with one base bundle (and its delta bundles), found " + std::to_string(groups.size()));
    return false;
  }
  for (const Group& group : groups) check_group(group, options, console);
  return console.errors() == 0;
}

}  // namespace pets::converter
