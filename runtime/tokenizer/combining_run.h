// Canonical order for marks that stay in the text.
#pragma once

#include <cstdint>

#include "runtime/tokenizer/unicode.h"

namespace pets::tokenizer {

/// Walks the canonical decompositions of a range of text, a part at a time. Cheap to copy.
class PartCursor {
 public:
  struct Part {
    char32_t code;
    uint8_t combining;
    bool first;           ///< the first part of its character
    uint32_t start, end;  ///< the character's bytes
  };

  PartCursor() = default;
  PartCursor(const char* text, uint32_t begin, uint32_t end, bool clean_text) noexcept
      : text_(text), position_(begin), end_(end), clean_text_(clean_text) {}

  bool next(Part& part) noexcept;

 private:
  const char* text_ = nullptr;
  uint32_t position_ = 0, end_ = 0, start_ = 0, index_ = 0;
  bool clean_text_ = false;
  unicode::Decomposition parts_{{}, {}, 0};
};

/// The parts of a combining sequence that strip_accents keeps (combining class over 0, yet no non-spacing mark in the library's tables),
/// in canonical order: by combining class, and as they came within a class.
///
/// The library sorts the whole sequence, the marks that it then removes among them, and gives the n-th first part in the sorted sequence
/// the n-th character's place in the text. So does this, without storing the sequence, which may be as long as the text: one pass for
/// each class that occurs among the kept parts (six in Unicode 9), and as many to find them.
class CombiningRun {
 public:
  CombiningRun() = default;
  /// `begin` is the starter that the marks follow (or the first mark where there is none), `end` the next starter.
  CombiningRun(const char* text, uint32_t begin, uint32_t end, bool clean_text) noexcept;

  bool active() const noexcept { return active_; }
  /// The next kept part with its place in the text; false at the end, after which active() is false.
  bool next(char32_t& code, uint32_t& start, uint32_t& end) noexcept;

 private:
  bool enter_next_class() noexcept;
  void place(uint32_t rank, uint32_t& start, uint32_t& end) noexcept;

  PartCursor begin_, cursor_, places_;
  PartCursor::Part place_{};
  uint32_t placed_ = 0;  // first parts that places_ has passed
  uint32_t rank_ = 0;    // first parts up to the cursor in canonical order, the starter's not counted
  int combining_ = 0;
  bool active_ = false, has_starter_ = false;
};

}  // namespace pets::tokenizer
