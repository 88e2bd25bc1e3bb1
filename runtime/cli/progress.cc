#include "runtime/cli/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string>

namespace pets::cli {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(250);

}  // namespace

Progress::Progress(bool enabled, uint64_t total_bytes) : enabled_(enabled), total_bytes_(total_bytes) {}

void Progress::update(uint64_t lines, uint64_t bytes) {
  const Clock::time_point now = Clock::now();
  if (!enabled_ || now - drawn_ < kInterval) return;
  drawn_ = now;
  visible_ = true;
  const double seconds = std::chrono::duration<double>(now - started_).count();
  const std::string share =
      total_bytes_ == 0 ? ""
                        : fmt::format("{:3.0f} %, ", 100.0 * std::min(1.0, static_cast<double>(bytes) / static_cast<double>(total_bytes_)));
  const std::string line = fmt::format("\r{}{} lines, {:.0f} lines/s\x1b[K", share, lines, static_cast<double>(lines) / seconds);
  (void)std::fwrite(line.data(), 1, line.size(), stderr);
  (void)std::fflush(stderr);
}

void Progress::clear() {
  if (!visible_) return;
  visible_ = false;
  (void)std::fputs("\r\x1b[K", stderr);
  (void)std::fflush(stderr);
}

}  // namespace pets::cli
