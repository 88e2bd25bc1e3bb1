#include "runtime/cli/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace pets::cli {
namespace {

volatile sig_atomic_t caught_signal = 0;
volatile sig_atomic_t wake_descriptor = -1;

void on_signal(int number) {
  const int saved = errno;
  caught_signal = number;
  const char byte = 0;
  if (wake_descriptor >= 0) (void)!::write(wake_descriptor, &byte, 1);
  errno = saved;
}

}  // namespace

Status InterruptGuard::install() {
  if (::pipe2(pipe_, O_CLOEXEC | O_NONBLOCK) != 0) return Status::error(ErrorCode::kIo, "cannot make a pipe: %s", std::strerror(errno));
  wake_descriptor = pipe_[1];
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGINT, SIGTERM}) {
    struct sigaction before = {};
    if (::sigaction(number, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;  // nohup, or "pets-run ... &" in a script
    (void)::sigaction(number, &action, nullptr);
  }
  return Status::ok();
}

InterruptGuard::~InterruptGuard() {
  wake_descriptor = -1;
  if (pipe_[0] >= 0) (void)::close(pipe_[0]);
  if (pipe_[1] >= 0) (void)::close(pipe_[1]);
}

int InterruptGuard::signal() noexcept { return caught_signal; }

}  // namespace pets::cli
