#include "pets/status.h"

#include <cstdio>

namespace pets {

Status Status::error(ErrorCode code, const char* format, ...) noexcept {
  Status status;
  status.code_ = code;
  va_list arguments;
  va_start(arguments, format);
  const int written = std::vsnprintf(status.message_, kMaxMessage, format, arguments);
  va_end(arguments);
  if (written < 0) {
    status.message_[0] = '\0';
    return status;
  }
  status.length_ = static_cast<std::size_t>(written);
  // A message is one line, whatever a file or a task is called.
  const std::size_t kept = status.length_ < kMaxMessage ? status.length_ : kMaxMessage - 1;
  for (std::size_t i = 0; i < kept; ++i) {
    const auto byte = static_cast<unsigned char>(status.message_[i]);
    if (byte < 0x20 || byte == 0x7F) status.message_[i] = '?';
  }
  if (status.length_ >= kMaxMessage) {
    std::size_t end = kMaxMessage - 4;
    while (end > 0 && (static_cast<unsigned char>(status.message_[end]) & 0xC0U) == 0x80U) --end;
    std::memcpy(status.message_ + end, "...", 4);
    status.length_ = end + 3;
  }
  return status;
}

}  // namespace pets
