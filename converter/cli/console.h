// What pets-convert says to the person: messages on stderr, and one redrawn line of progress where stderr is a terminal.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace pets::converter {

class Console {
 public:
  Console();
  ~Console() { clear(); }
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  void error(std::string_view text);
  void note(std::string_view text);
  /// "<what> <done>/<total>". Drawn at most ten times a second, and always when all is done.
  void progress(std::string_view what, size_t done, size_t total);
  /// Removes the line of progress.
  void clear();

  size_t errors() const { return errors_; }

 private:
  void line(std::string_view kind, std::string_view text);

  using Clock = std::chrono::steady_clock;
  bool terminal_;
  bool visible_ = false;
  Clock::time_point drawn_{};
  size_t errors_ = 0;
};

}  // namespace pets::converter
