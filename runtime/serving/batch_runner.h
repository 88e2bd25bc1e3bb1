// The seam between a server's worker and what computes its batches.
#pragma once

#include <memory>
#include <new>
#include <span>

#include "pets/session.h"
#include "runtime/engine/session_impl.h"

namespace pets::serving {

/// Used by one thread at a time.
class BatchRunner {
 public:
  virtual ~BatchRunner() = default;
  /// Answers every query once, in order. An answer of kInternal says that the device failed.
  virtual void run(std::span<const engine::PreparedQuery> queries, Session::AnswerFn on_answer, void* context) noexcept = 0;
  /// After the device failed: makes what computes anew.
  virtual Status restart() noexcept = 0;
};

/// Runs batches on a session.
class SessionRunner final : public BatchRunner {
 public:
  static Result<std::unique_ptr<SessionRunner>> create(std::shared_ptr<Model> model, const SessionOptions& options) noexcept {
    std::unique_ptr<SessionRunner> runner(new (std::nothrow) SessionRunner(std::move(model), options));
    if (runner == nullptr) return Status::error(ErrorCode::kResourceExhausted, "a server: out of memory");
    if (Status status = runner->restart(); !status) return status;
    return runner;
  }
  void run(std::span<const engine::PreparedQuery> queries, Session::AnswerFn on_answer, void* context) noexcept override {
    session_->impl().run_prepared(queries, on_answer, context);
  }
  Status restart() noexcept override {
    session_.reset();  // two would need twice the memory
    Result<std::unique_ptr<Session>> session = Session::create(model_, options_);
    if (!session) return session.status();
    session_ = std::move(session).value();
    return Status::ok();
  }
  Session& session() { return *session_; }

 private:
  SessionRunner(std::shared_ptr<Model> model, const SessionOptions& options) : model_(std::move(model)), options_(options) {}

  std::shared_ptr<Model> model_;
  SessionOptions options_;
  std::unique_ptr<Session> session_;
};

}  // namespace pets::serving
