// Runs batches of queries on a model. One thread uses a session at a time; sessions run in parallel.
#pragma once

#include <memory>
#include <span>
#include <type_traits>

#include "pets/model.h"
#include "pets/thread_pool.h"

namespace pets {

class Session {
 public:
  /// Allocates the whole arena (`Plan::arena_bytes`) and the pool; nothing is allocated afterwards.
  static Result<std::unique_ptr<Session>> create(std::shared_ptr<Model> model, const SessionOptions& options = {}) noexcept;
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  using AnswerFn = void (*)(void* context, size_t index, const Answer& answer);

  /// Answers all queries, mixed tasks in any order: packs them into batches of at most max_batch_tokens, rows grouped by task. The
  /// callback is called once for every query, on this thread, in input order unless SessionOptions::any_order; `index` is the query's
  /// position. A query that cannot be answered (unknown task, invalid UTF-8, ids beyond the vocabulary, longer than max_batch_tokens) gets
  /// an answer whose status says why, the others go on. Neighbours that view the very same memory as their text (or ids) share the
  /// tokenizer's work and every layer below the first one that their tasks change (on a GPU below the first one that any of them changes);
  /// tasks that change the head alone share the whole encoder. Shared rows count once in max_batch_tokens; a query's answer is the same
  /// bits as alone. Does not allocate, throw or block on other sessions. The callback must not throw.
  Status run(std::span<const Query> queries, AnswerFn on_answer, void* context) noexcept;

  /// The same with any callable `void(size_t index, const Answer&)`.
  template <typename Callback>
  Status run(std::span<const Query> queries, Callback&& on_answer) noexcept {
    using Function = std::remove_reference_t<Callback>;
    return run(
        queries, [](void* context, size_t index, const Answer& answer) { (*static_cast<Function*>(context))(index, answer); },
        const_cast<void*>(static_cast<const void*>(&on_answer)));
  }

  Model& model() const noexcept;
  uint64_t arena_bytes() const noexcept;
  /// Of device memory (`Plan::device_bytes`, without the model's).
  uint64_t device_bytes() const noexcept;
  /// Of the thread that runs the session.
  DeviceCounters device_counters() const noexcept;
  uint32_t threads() const noexcept;

  class Impl;
  Impl& impl() const noexcept { return *impl_; }

 private:
  explicit Session(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pets
