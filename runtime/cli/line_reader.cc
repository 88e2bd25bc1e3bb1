#include "runtime/cli/line_reader.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace pets::cli {

LineReader::LineReader(int descriptor, std::string name, std::size_t max_line, int wake)
    : descriptor_(descriptor),
      name_(std::move(name)),
      max_line_(max_line),
      wake_(wake),
      capacity_(max_line + 1 + kChunk),
      buffer_(new char[capacity_]) {}

LineReader::Next LineReader::next(std::span<char>& line) {
  while (true) {
    const void* const found = end_ == scanned_ ? nullptr : std::memchr(&buffer_[scanned_], '\n', end_ - scanned_);
    const std::size_t start = begin_;
    std::size_t stop = end_;
    if (found != nullptr) {
      stop = static_cast<std::size_t>(static_cast<const char*>(found) - buffer_.get());
      begin_ = scanned_ = stop + 1;
    } else {
      scanned_ = end_;
      if (skipping_ || at_end_ || end_ - begin_ > max_line_) begin_ = end_;
    }
    if (skipping_) {
      if (found != nullptr) {
        skipping_ = false;
        continue;
      }
      return at_end_ ? Next::kEnd : Next::kNeedsData;
    }
    if (stop - start > max_line_) {
      skipping_ = found == nullptr;
      return Next::kTooLong;
    }
    if (found == nullptr && !at_end_) return Next::kNeedsData;
    if (found == nullptr && start == stop) return Next::kEnd;
    line = {&buffer_[start], stop - start};
    return Next::kLine;
  }
}

LineReader::Fill LineReader::fill(bool wait) {
  if (at_end_) return Fill::kEnd;
  if (end_ == capacity_) return Fill::kFull;
  while (true) {
    pollfd sources[3] = {{descriptor_, POLLIN, 0}, {wake_, POLLIN, 0}, {second_wake_, POLLIN, 0}};
    const int ready = ::poll(sources, 3, wait ? -1 : 0);
    if (ready < 0 && errno == EINTR) continue;
    if (ready > 0 && ((sources[1].revents | sources[2].revents) & POLLIN) != 0) return Fill::kWoken;
    if (ready == 0) return Fill::kNotReady;
    const ssize_t count = ready < 0 ? -1 : ::read(descriptor_, &buffer_[end_], std::min(kChunk, capacity_ - end_));
    if (count > 0) {
      end_ += static_cast<std::size_t>(count);
      bytes_read_ += static_cast<uint64_t>(count);
      return Fill::kData;
    }
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
      if (wait) continue;
      return Fill::kNotReady;
    }
    at_end_ = true;
    if (count == 0) return Fill::kEnd;
    status_ = Status::error(ErrorCode::kIo, "cannot read %s: %s", name_.c_str(), std::strerror(errno));
    return Fill::kError;
  }
}

void LineReader::release() noexcept {
  if (begin_ == 0) return;
  std::memmove(buffer_.get(), &buffer_[begin_], end_ - begin_);
  scanned_ -= begin_;
  end_ -= begin_;
  begin_ = 0;
}

}  // namespace pets::cli
