#include "converter/files/temporary_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

namespace pets::converter {
namespace {

/// Names of the temporary files that exist, readable by a signal handler: a name is complete before its slot is `used`.
struct Slot {
  std::atomic<bool> taken{false}, used{false};
  char path[PATH_MAX] = {};
};
std::array<Slot, 8> slots;

int register_path(const std::string& path) {
  for (size_t i = 0; i < slots.size() && path.size() < PATH_MAX; ++i) {
    if (slots[i].taken.exchange(true)) continue;
    std::memcpy(slots[i].path, path.c_str(), path.size() + 1);
    slots[i].used = true;
    return static_cast<int>(i);
  }
  return -1;
}

void unregister(int slot) {
  if (slot < 0) return;
  slots[static_cast<size_t>(slot)].used = false;
  slots[static_cast<size_t>(slot)].taken = false;
}

extern "C" void remove_and_reraise(int signal_number) {
  for (const Slot& slot : slots) {
    if (slot.used) ::unlink(slot.path);
  }
  ::signal(signal_number, SIG_DFL);
  ::raise(signal_number);
}

Status io_error(const std::string& path, const char* action) {
  return Status::error(ErrorCode::kIo, "%s: cannot %s: %s", path.c_str(), action, std::strerror(errno));
}

mode_t current_umask() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return mask;
}

}  // namespace

TemporaryFile::TemporaryFile(TemporaryFile&& other) noexcept { *this = std::move(other); }

TemporaryFile& TemporaryFile::operator=(TemporaryFile&& other) noexcept {
  if (this != &other) {
    discard();
    target_ = std::move(other.target_);
    path_ = std::exchange(other.path_, {});
    descriptor_ = std::exchange(other.descriptor_, -1);
    slot_ = std::exchange(other.slot_, -1);
  }
  return *this;
}

TemporaryFile::~TemporaryFile() { discard(); }

void TemporaryFile::discard() noexcept {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!path_.empty()) ::unlink(path_.c_str());
  unregister(slot_);
  descriptor_ = slot_ = -1;
  path_.clear();
}

Result<TemporaryFile> TemporaryFile::create(const std::string& target) {
  TemporaryFile file;
  file.target_ = target;
  std::error_code ignored;
  if (const auto resolved = std::filesystem::canonical(target, ignored); !ignored) file.target_ = resolved.string();
  struct stat information {};
  const bool exists = ::stat(file.target_.c_str(), &information) == 0;
  if (exists && !S_ISREG(information.st_mode)) {
    return Status::error(ErrorCode::kIo, "%s: cannot be replaced: it is no regular file", target.c_str());
  }
  std::string name = file.target_ + ".tmp-XXXXXX";
  file.descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (file.descriptor_ < 0) return io_error(target, "create a file beside it");
  file.path_ = name;
  file.slot_ = register_path(name);
  const mode_t mode = exists ? information.st_mode & 0777 : 0666 & ~current_umask();
  if (::fchmod(file.descriptor_, mode) != 0) return io_error(name, "set its permissions");
  return file;
}

Status TemporaryFile::write(std::span<const std::byte> bytes) {
  constexpr size_t kChunk = size_t{1} << 30;  // Linux writes at most 2 GiB a call
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), std::min(bytes.size(), kChunk));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return io_error(target_, "write");
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return {};
}

Status TemporaryFile::commit() {
  if (::fsync(descriptor_) != 0) return io_error(target_, "sync");
  if (::close(std::exchange(descriptor_, -1)) != 0) return io_error(target_, "close");
  if (::rename(path_.c_str(), target_.c_str()) != 0) return io_error(target_, "rename the finished file into place");
  path_.clear();
  unregister(std::exchange(slot_, -1));
  const std::string parent = std::filesystem::path(target_).parent_path().string();
  const std::string directory = parent.empty() ? "." : parent;
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return {};                                    // a directory that cannot be read: the file is in place all the same
  const bool synced = ::fsync(descriptor) == 0 || errno == EINVAL;  // EINVAL: a file system without it
  ::close(descriptor);
  return synced ? Status() : io_error(directory, "sync the directory");
}

void remove_temporary_files_on_signals() {
  struct sigaction action {};
  action.sa_handler = remove_and_reraise;
  sigemptyset(&action.sa_mask);
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    struct sigaction before {};
    if (::sigaction(signal_number, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;  // nohup
    ::sigaction(signal_number, &action, nullptr);
  }
}

}  // namespace pets::converter
