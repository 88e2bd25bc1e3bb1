#include "converter/cli/console.h"

#include <unistd.h>

#include <cstdio>

#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

constexpr size_t kMaxMessage = 4096;  // bytes

}  // namespace

Console::Console() : terminal_(::isatty(STDERR_FILENO) == 1) {}

void Console::error(std::string_view text) {
  ++errors_;
  line("error: ", text);
}

void Console::note(std::string_view text) { line("", text); }

void Console::line(std::string_view kind, std::string_view text) {
  clear();
  std::string whole = "pets-convert: ";
  whole.append(kind).append(utf8::printable(text, kMaxMessage)).append("\n");  // one line, whatever a file is called
  (void)std::fwrite(whole.data(), 1, whole.size(), stderr);                    // where stderr is gone there is nobody to tell
}

void Console::progress(std::string_view what, size_t done, size_t total) {
  if (!terminal_) return;
  const Clock::time_point now = Clock::now();
  if (done != total && visible_ && now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  visible_ = true;
  std::fprintf(stderr, "\r\x1b[K%.*s %zu/%zu", static_cast<int>(what.size()), what.data(), done, total);
  (void)std::fflush(stderr);
}

void Console::clear() {
  if (!visible_) return;
  visible_ = false;
  (void)std::fputs("\r\x1b[K", stderr);
}

}  // namespace pets::converter
