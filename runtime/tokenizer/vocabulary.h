// The mapped vocabulary: from a token's bytes to its id.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "pets/status.h"

namespace pets::schema {
struct WordPiece;
}

namespace pets::tokenizer {

/// The limits of a bundle's tokenizer. Real vocabularies stay far below; they bound the time that a hostile bundle can cost.
inline constexpr uint32_t kMaxEntryBytes = 1023;
inline constexpr uint32_t kMaxProbes = 4096;  // slots looked at for one lookup

/// A view of the three vocabulary tensors.
class Vocabulary {
 public:
  Vocabulary() = default;

  /// Checks the tensors completely; afterwards no lookup can read outside them, and none takes more than kMaxProbes steps.
  static Result<Vocabulary> create(const schema::WordPiece& tables, std::span<const std::byte> segment) noexcept;

  uint32_t entries() const noexcept { return entries_; }
  std::string_view entry(uint32_t id) const noexcept { return {bytes_ + offsets_[id], offsets_[id + 1] - offsets_[id]}; }

  /// The id of `token`, or -1.
  int64_t find(std::string_view token) const noexcept;

  /// Length in bytes of the longest entry.
  uint32_t longest() const noexcept { return longest_; }
  /// Whether an entry of `length` bytes, at most longest(), exists.
  bool has_length(uint32_t length) const noexcept { return (lengths_[length / 64] >> (length % 64) & 1) != 0; }

 private:
  Status check_entries(uint64_t bytes_length) noexcept;
  Status check_slots() noexcept;

  const char* bytes_ = nullptr;
  const uint32_t* offsets_ = nullptr;
  const uint32_t* slots_ = nullptr;
  uint32_t entries_ = 0, slot_mask_ = 0, longest_ = 0;
  std::array<uint64_t, (kMaxEntryBytes + 1) / 64> lengths_{};
};

/// The hash that places an entry in the slots: XXH3-64.
uint64_t hash_entry(std::string_view entry) noexcept;

}  // namespace pets::tokenizer
