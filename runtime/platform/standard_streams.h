// Standard input, output and error as a program finds them: missing ("pets-run FILE <&-"), gone, or full.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace pets::platform {

/// Call first thing in main. A closed standard descriptor would go to the next file that is opened: messages would be written into a
/// bundle, answers into a pipe of our own. Here it is opened the wrong way round, so that reading or writing it stays an error.
inline void occupy_standard_streams() noexcept {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    (void)::open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);  // takes the lowest one that is free: this one
  }
}

/// A reader that went away, or a limit on the size of files, becomes an error of the write (EPIPE, EFBIG), which is reported and cleaned up
/// after, and no longer ends the program in the middle of a line.
inline void report_failed_writes() noexcept {
  for (const int number : {SIGPIPE, SIGXFSZ}) (void)::signal(number, SIG_IGN);
}

}  // namespace pets::platform
