// How far a long run is, on a terminal's standard error: one line that is redrawn.
#pragma once

#include <chrono>
#include <cstdint>

namespace pets::cli {

class Progress {
 public:
  /// Draws nothing unless `enabled`. `total_bytes`: of the input, 0 where unknown.
  Progress(bool enabled, uint64_t total_bytes);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(uint64_t lines, uint64_t bytes);
  /// Removes the line, so that messages start on an empty one.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  bool enabled_;
  uint64_t total_bytes_;
  Clock::time_point started_ = Clock::now();
  Clock::time_point drawn_ = started_;
  bool visible_ = false;
};

}  // namespace pets::cli
