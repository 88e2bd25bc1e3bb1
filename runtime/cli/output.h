// Buffered output to a file descriptor that remembers the first failure instead of losing it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "pets/status.h"

namespace pets::cli {

class Output {
 public:
  /// Collects in memory; for tests.
  Output() = default;
  /// Writes to `descriptor`, which stays the caller's. `name` is what messages call it.
  Output(int descriptor, std::string name) : descriptor_(descriptor), name_(std::move(name)) {}

  void append(std::string_view text);
  void append(char c) { append(std::string_view(&c, 1)); }
  /// Hands everything to the operating system.
  void flush();
  /// The first write that failed; everything after it was dropped.
  const Status& status() const noexcept { return status_; }
  /// What is buffered and not yet written.
  std::string_view buffered() const noexcept { return buffer_; }

 private:
  static constexpr std::size_t kBufferBytes = std::size_t{64} << 10;

  int descriptor_ = -1;
  std::string name_;
  std::string buffer_;
  Status status_;
};

}  // namespace pets::cli
