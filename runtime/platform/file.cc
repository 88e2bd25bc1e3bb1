#include "runtime/platform/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace pets::platform {
namespace {

/// Closes a descriptor when the scope ends.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

Status io_error(const char* path, const char* action) {
  const int code = errno;
  return Status::error(code == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "%s: cannot %s: %s", path, action, std::strerror(code));
}

}  // namespace

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(copied_, other.copied_);
  }
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

Result<MappedFile> MappedFile::open(const char* path, bool copy) noexcept {
  // O_NONBLOCK: a pipe without a writer is refused below rather than waited for. It changes nothing for a regular file.
  const Descriptor file{::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) return io_error(path, "open");
  struct stat information {};
  if (::fstat(file.fd, &information) != 0) return io_error(path, "stat");
  if (!S_ISREG(information.st_mode)) return Status::error(ErrorCode::kIo, "%s: expected a regular file", path);
  MappedFile mapped;
  const auto size = static_cast<size_t>(information.st_size);
  if (size == 0) return mapped;
  const int protection = copy ? PROT_READ | PROT_WRITE : PROT_READ;
  void* data = ::mmap(nullptr, size, protection, copy ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_PRIVATE, copy ? -1 : file.fd, 0);
  if (data == MAP_FAILED) return io_error(path, copy ? "allocate memory for a copy" : "map");
  mapped.data_ = static_cast<const std::byte*>(data);
  mapped.size_ = size;
  mapped.copied_ = copy;
  if (copy) {
    size_t done = 0;
    while (done < size) {
      const ssize_t count = ::pread(file.fd, static_cast<char*>(data) + done, size - done, static_cast<off_t>(done));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return io_error(path, "read");
      if (count == 0) return Status::error(ErrorCode::kDamaged, "%s: ended at byte %zu while %zu were expected", path, done, size);
      done += static_cast<size_t>(count);
    }
    ::mprotect(data, size, PROT_READ);
  }
  return mapped;
}

Result<uint64_t> file_size(const char* path) noexcept {
  struct stat information {};
  if (::stat(path, &information) != 0) return io_error(path, "stat");
  if (!S_ISREG(information.st_mode)) return Status::error(ErrorCode::kIo, "%s: expected a regular file", path);
  return static_cast<uint64_t>(information.st_size);
}

}  // namespace pets::platform
