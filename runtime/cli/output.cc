#include "runtime/cli/output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace pets::cli {

void Output::append(std::string_view text) {
  if (descriptor_ < 0) {
    buffer_.append(text);
    return;
  }
  while (!text.empty()) {
    const std::size_t room = kBufferBytes - buffer_.size();
    buffer_.append(text.substr(0, room));
    if (text.size() < room) return;
    text.remove_prefix(room);
    flush();
  }
}

void Output::flush() {
  if (descriptor_ < 0) return;
  std::string_view rest = buffer_;
  while (status_ && !rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      pollfd ready{descriptor_, POLLOUT, 0};  // somebody else made the shared descriptor non-blocking
      (void)::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      status_ = Status::error(ErrorCode::kIo, "cannot write %s: %s", name_.c_str(), std::strerror(errno));
    }
  }
  buffer_.clear();
}

}  // namespace pets::cli
