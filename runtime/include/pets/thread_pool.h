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
  /// Says that no `run` is to be expected soon, so that workers that wait awake may sleep. The library calls it of pools that it made.
  virtual void rest() noexcept {}

  /// The library's own pool over pthreadpool. `threads` 0: one per available processor.
  static Result<std::unique_ptr<ThreadPool>> create(uint32_t threads) noexcept;
};

}  // namespace pets
