// Ctrl-C as a flag and a descriptor: work in progress is finished, waiting ends at once.
#pragma once

#include "pets/status.h"

namespace pets::cli {

/// Catches SIGINT and SIGTERM once (the second one ends the process) unless they are ignored, and ignores SIGPIPE, so that a closed pipe is
/// a write error. One at a time in a process.
class InterruptGuard {
 public:
  InterruptGuard() = default;
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  ~InterruptGuard();

  Status install();
  /// The signal that came, or 0.
  static int signal() noexcept;
  /// Becomes readable when a signal comes.
  int descriptor() const noexcept { return pipe_[0]; }

 private:
  int pipe_[2] = {-1, -1};
};

}  // namespace pets::cli
