#include "converter/check/model_runner.h"

#include <algorithm>
#include <cmath>

#include "runtime/platform/check.h"

namespace pets::converter {

Result<ModelRunner> ModelRunner::open(const std::string& path, const std::vector<std::string>& deltas) {
  PETS_ASSIGN_OR_RETURN(std::shared_ptr<Model> model, Model::load(path.c_str()));
  for (const std::string& delta : deltas) PETS_RETURN_IF_ERROR(model->add_tasks(delta.c_str(), true));
  if (const auto quarantined = model->quarantined(); !quarantined.empty()) return quarantined.front().status;
  return attach(std::move(model));
}

Result<ModelRunner> ModelRunner::attach(std::shared_ptr<Model> model) {
  ModelRunner runner;
  runner.model_ = std::move(model);
  SessionOptions options;
  for (const auto& task : runner.model_->tasks()) options.max_batch_tokens = std::max(options.max_batch_tokens, task->max_length);
  PETS_ASSIGN_OR_RETURN(runner.session_, Session::create(runner.model_, options));
  return runner;
}

Status ModelRunner::run(std::span<const Query> queries, const OnAnswer& on_answer) {
  return session_->run(queries, [&](size_t index, const Answer& answer) { on_answer(index, answer); });
}

Status ModelRunner::answer(const std::string& task, std::vector<Golden>& goldens) {
  std::vector<Query> queries;
  queries.reserve(goldens.size());
  for (const Golden& golden : goldens) queries.push_back(query_of(task, golden));
  Status failed;
  PETS_RETURN_IF_ERROR(run(queries, [&](size_t index, const Answer& answer) {
    if (!answer.status) {
      failed = answer.status;
      return;
    }
    goldens[index].logits.assign(answer.logits.begin(), answer.logits.end());
    const auto bad = std::find_if(answer.logits.begin(), answer.logits.end(), [](float logit) { return !std::isfinite(logit); });
    if (bad == answer.logits.end()) return;
    failed = Status::error(ErrorCode::kInvalidArgument, "golden query %zu: expected finite logits, found %g", index + 1,
                           static_cast<double>(*bad));
  }));
  return failed;
}

Query query_of(const std::string& task, const Golden& golden) {
  Query query;
  query.task = task;
  query.text = golden.text;
  query.text_pair = golden.text_pair;
  query.has_text_pair = golden.has_text_pair;
  query.ids = golden.ids;
  query.has_ids = !golden.ids.empty();
  return query;
}

}  // namespace pets::converter
