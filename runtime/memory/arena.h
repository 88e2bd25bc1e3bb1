// One allocation, cut into arrays by code that can also run in counting mode: what it counts is what it will use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "pets/status.h"

namespace pets::memory {

inline constexpr size_t kCacheLine = 64;

/// Hands out 64-byte aligned arrays from a block, or, without a block, only counts (the arrays are then null and must not be touched).
class Arena {
 public:
  Arena() = default;  ///< counting mode
  Arena(std::byte* data, size_t size) : data_(data), size_(size) {}

  bool counting() const { return data_ == nullptr; }
  size_t used() const { return used_; }

  template <typename T>
  T* array(size_t count) {
    static_assert(std::is_trivially_destructible_v<T>, "an arena never runs destructors");
    static_assert(alignof(T) <= kCacheLine);
    const size_t offset = used_;
    used_ += (count * sizeof(T) + kCacheLine - 1) / kCacheLine * kCacheLine;
    if (counting() || used_ > size_) return nullptr;
    return reinterpret_cast<T*>(data_ + offset);
  }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t used_ = 0;
};

/// Page-aligned zeroed memory straight from the operating system, in huge pages where it offers them. Movable.
class Block {
 public:
  Block() = default;
  Block(Block&& other) noexcept { *this = static_cast<Block&&>(other); }
  Block& operator=(Block&& other) noexcept;
  ~Block();

  static Result<Block> allocate(size_t size) noexcept;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace pets::memory
