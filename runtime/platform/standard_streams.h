// Standard input, output and error of a program that was started without them ("pets-run FILE <&-").
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace pets::platform {

/// Call first thing in main. A closed standard descriptor would go to the next file that is opened: messages would be written into a
/// bundle, answers into a pipe of our own. Here it is opened the wrong way round, so that reading or writing it stays an error.
inline void occupy_standard_streams() noexcept {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
    (void)::open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);  // takes the lowest one that is free: this one
  }
}

}  // namespace pets::platform
