// Reads lines from a file descriptor with bounded memory, and tells "nothing there right now" from "the end".
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "pets/status.h"

namespace pets::cli {

class LineReader {
 public:
  /// Reads `descriptor`, which stays the caller's. `name` is what messages call it. `wake`: a descriptor that becomes readable when
  /// waiting should stop (-1: none).
  LineReader(int descriptor, std::string name, std::size_t max_line, int wake = -1);

  enum class Next {
    kLine,     ///< `line` holds one, without its line break
    kTooLong,  ///< one over max_line: it is skipped as a whole
    kNeedsData,
    kEnd
  };
  /// The next line of what is buffered. A line stays valid (and may be written to) until `release`.
  Next next(std::span<char>& line);

  enum class Fill {
    kData,
    kEnd,       ///< the input ended: the last line, if any, is there now
    kNotReady,  ///< only without `wait`: nothing has come yet
    kFull,      ///< no room before `release`
    kWoken,     ///< `wake` became readable
    kError      ///< see `status`
  };
  /// Reads what is there; with `wait`, waits for it.
  Fill fill(bool wait);

  /// Another descriptor like `wake`, before anybody waits.
  void also_wake(int descriptor) noexcept { second_wake_ = descriptor; }

  /// The lines handed out so far are no longer used.
  void release() noexcept;
  const Status& status() const noexcept { return status_; }
  /// Bytes read in all.
  uint64_t bytes_read() const noexcept { return bytes_read_; }

 private:
  static constexpr std::size_t kChunk = std::size_t{64} << 10;

  int descriptor_;
  std::string name_;
  std::size_t max_line_;
  int wake_;
  int second_wake_ = -1;
  std::size_t capacity_;
  std::unique_ptr<char[]> buffer_;  ///< not initialized: pages that no line reaches stay untouched
  std::size_t begin_ = 0;           ///< of what has not been handed out
  std::size_t scanned_ = 0;         ///< [begin_, scanned_) holds no line break
  std::size_t end_ = 0;
  uint64_t bytes_read_ = 0;
  bool skipping_ = false;  ///< inside a line that was too long
  bool at_end_ = false;
  Status status_;
};

}  // namespace pets::cli
