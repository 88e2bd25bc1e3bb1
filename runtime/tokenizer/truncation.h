// Longest-first truncation of the `tokenizers` library (utils/truncation.rs).
#pragma once

#include <algorithm>
#include <cstdint>

namespace pets::tokenizer {

struct PartLengths {
  uint64_t first, second;
};

/// How many tokens are kept of parts of `first` and `second` tokens where `room` is left for both.
constexpr PartLengths longest_first(uint64_t first, uint64_t second, uint64_t room) {
  if (first + second <= room) return {first, second};
  uint64_t shorter = std::min(first, second), longer = room > shorter ? room - shorter : 0;
  if (2 * shorter > room) {  // both are cut: an odd token goes to the longer part, or to the second where they are equal
    shorter = room / 2;
    longer = room - shorter;
  }
  return first > second ? PartLengths{longer, shorter} : PartLengths{shorter, longer};
}

/// Up to where the tokens must be counted so that longest_first is right: a count that reaches the limit may stop there.
constexpr uint64_t first_limit(uint64_t room) { return room % 2 == 0 ? room + 1 : UINT64_MAX; }
constexpr uint64_t second_limit(uint64_t first, uint64_t room) {
  if (2 * first <= room) return room - first + 1;
  return room % 2 == 0 ? room / 2 + 1 : first;
}

}  // namespace pets::tokenizer
