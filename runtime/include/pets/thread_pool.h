// The pool that a session computes on. Implement it to lend the application's own threads.
#pragma once

#include <cstdint>
#include <memory>

#include "pets/status.h"

namespace pets {

class ThreadPool {
 public:
  virtual ~ThreadPool() = default;
  /// Workers, the calling thread included; at least 1 and constant.
  virtual uint32_t threads() const noexcept = 0;
  /// Calls function(context, i) exactly once for every i in [0, count), count <= threads(), concurrently where it can, and returns when
  /// all have returned; what the calls wrote is visible then. Must not allocate, throw, or be called from inside itself.
  virtual void run(void (*function)(void* context, uint32_t index), void* context, uint32_t count) noexcept = 0;

  /// The library's own pool. `threads` 0: one per processor that the calling thread may use. Its workers sleep when nothing has run for
  /// 0.2 ms, and a `run` does not wait for those who still do: their calls are made by whoever is awake. Several threads may call `run`;
  /// one waits for the other. Where every worker can have a processor of its own, workers keep off that of the thread that calls.
  static Result<std::unique_ptr<ThreadPool>> create(uint32_t threads) noexcept;
};

}  // namespace pets
