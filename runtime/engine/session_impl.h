// What a Session is made of. The server runs queries on it that it has read itself.
#pragma once

#include <memory>
#include <span>

#include "pets/session.h"
#include "runtime/engine/device_encoder.h"
#include "runtime/engine/model_impl.h"
#include "runtime/engine/session_memory.h"

namespace pets {
namespace engine {

/// A query that was read before: its task and its tokens, both kept alive by the caller until it is answered.
struct PreparedQuery {
  const Task* task = nullptr;
  std::span<const tokenizer::Token> tokens;
  uint32_t padded_rows = 0;  ///< rows that are computed at least, as an engine that pads its batches does; at most the base's positions
  bool truncated = false;
  /// As the query before it: where they have as many rows too, they share those that their tasks do not change.
  bool same_tokens = false;
};

/// Where batches get their queries.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  /// Reads the query that is taken `position`-th: its tokens go to `token_begin` of the token buffer; fills `sequence` (whose `query` is
  /// set) but for its rows' places. Where a sequence of the batch has the same tokens, `sequence` follows it and shares them.
  virtual Status read(size_t position, uint32_t token_begin, Sequence& sequence) = 0;
  /// The index by which callers know that query.
  virtual size_t index(size_t position) const = 0;
};

}  // namespace engine

class Session::Impl {
 public:
  Impl(std::shared_ptr<Model> owner, const engine::EncoderCapacity& planned);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status run(std::span<const Query> queries, AnswerFn on_answer, void* context);
  /// The same of queries that were read before, in the order given; those that do not fit into one batch make several.
  void run_prepared(std::span<const engine::PreparedQuery> queries, AnswerFn on_answer, void* context);
  /// An error where the task needs more scratch than this session has.
  Status check_limits(const engine::Task& task) const;

  std::shared_ptr<Model> model;
  Model::Impl& internals;
  engine::EncoderCapacity capacity;
  engine::TaskSetCell::Reader reader;
  memory::Block block;
  engine::SessionMemory memory;
  std::unique_ptr<engine::DeviceEncoder> device;  // null: encoder and heads run on the CPU
  std::unique_ptr<ThreadPool> own_pool;
  ThreadPool* pool = nullptr;

 private:
  size_t fill_batch(engine::BatchSource& source, size_t first, size_t end);
  size_t run_batch(engine::BatchSource& source, size_t first, size_t end);
  Status compute_logits();
  void deliver(const engine::BatchSource& source, size_t first, size_t count, AnswerFn on_answer, void* context);
};

}  // namespace pets
