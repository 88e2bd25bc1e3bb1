#include "runtime/memory/arena.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace pets::memory {

Block& Block::operator=(Block&& other) noexcept {
  if (this != &other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  return *this;
}

Block::~Block() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Result<Block> Block::allocate(size_t size) noexcept {
  Block block;
  if (size == 0) return block;
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return Status::error(ErrorCode::kResourceExhausted, "cannot allocate %zu bytes: %s", size, std::strerror(errno));
  }
#ifdef MADV_HUGEPAGE
  // Activations are streamed through: 4 KiB pages cost several per cent in TLB misses. Only a hint, and only whole huge pages count.
  ::madvise(data, size, MADV_HUGEPAGE);
#endif
  block.data_ = static_cast<std::byte*>(data);
  block.size_ = size;
  return block;
}

}  // namespace pets::memory
