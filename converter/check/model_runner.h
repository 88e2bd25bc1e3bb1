// Runs queries on a bundle through the public API: goldens, drift, verification.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "converter/bundle/bundle_writer.h"
#include "pets/pets.h"

namespace pets::converter {

class ModelRunner {
 public:
  /// Loads a bundle and the deltas, whose tasks replace those of the same name. A task that is quarantined is an error.
  static Result<ModelRunner> open(const std::string& path, const std::vector<std::string>& deltas = {});

  /// A session on a model, whatever its quarantined tasks.
  static Result<ModelRunner> attach(std::shared_ptr<Model> model);

  Model& model() { return *model_; }
  Session& session() { return *session_; }

  using OnAnswer = std::function<void(size_t index, const Answer& answer)>;
  Status run(std::span<const Query> queries, const OnAnswer& on_answer);
  /// Fills the logits of one task's goldens. A query that fails, or an answer that is not finite, is an error.
  Status answer(const std::string& task, std::vector<Golden>& goldens);

 private:
  std::shared_ptr<Model> model_;
  std::unique_ptr<Session> session_;
};

/// The query of a golden; it refers to the golden's texts and ids.
Query query_of(const std::string& task, const Golden& golden);

}  // namespace pets::converter
