#include "runtime/tokenizer/normalizer.h"

#include "runtime/platform/utf8.h"

namespace pets::tokenizer {

AsciiTable make_ascii_table(const NormalizerOptions& options) noexcept {
  AsciiTable table{};
  for (uint32_t c = 0; c < table.size(); ++c) {
    const uint8_t classes = unicode::classify(c);
    if (options.clean_text && (classes & unicode::kDropped) != 0) {
      table[c] = kAsciiDropped;
    } else if ((classes & unicode::kSpace) != 0) {
      table[c] = kAsciiSpace;
    } else if ((classes & unicode::kPunctuation) != 0) {
      table[c] = kAsciiPunctuation;
    } else {
      const bool upper = options.lowercase && c >= 'A' && c <= 'Z';
      table[c] = static_cast<uint8_t>(upper ? c + ('a' - 'A') : c);
    }
  }
  return table;
}

void NormalizedStream::push(char32_t code, uint8_t classes, uint32_t start, uint32_t end) noexcept {
  queue_[queue_size_++] = {code, start, end, classes};
}

void NormalizedStream::push_lowercase(char32_t code, uint8_t classes, uint32_t start, uint32_t end) noexcept {
  if (!options_.lowercase || (classes & unicode::kConsult) == 0) return push(code, classes, start, end);
  char32_t lower[2];
  const uint32_t count = unicode::lowercase(code, classes, lower);
  for (uint32_t i = 0; i < count; ++i) push(lower[i], lower[i] == code ? classes : unicode::classify(lower[i]), start, end);
}

// The start of the next character whose decomposition begins with a starter.
uint32_t NormalizedStream::find_sequence_end() const noexcept {
  PartCursor scan(text_, position_, end_, options_.clean_text);
  PartCursor::Part part{};
  while (scan.next(part)) {
    if (part.combining == 0) return part.start;
  }
  return end_;
}

void NormalizedStream::push_decomposed(char32_t code, uint8_t classes, uint32_t start) noexcept {
  unicode::Decomposition parts;
  unicode::decompose(code, classes, parts);
  for (uint32_t i = 0; i < parts.count; ++i) {
    const uint8_t part_classes = parts.code[i] == code ? classes : unicode::classify(parts.code[i]);
    const bool dropped = (part_classes & unicode::kMark) != 0;
    if (parts.combining[i] == 0) {
      sequence_begin_ = start;
      if (!dropped) push_lowercase(parts.code[i], part_classes, start, position_);
    } else if (!dropped) {
      const uint32_t end = find_sequence_end();
      run_ = CombiningRun(text_, sequence_begin_, end, options_.clean_text);
      position_ = end;
      return;
    }
  }
}

bool NormalizedStream::refill() noexcept {
  queue_head_ = queue_size_ = 0;
  if (run_.active()) {
    char32_t code = 0;
    uint32_t start = 0, end = 0;
    if (run_.next(code, start, end)) push_lowercase(code, unicode::classify(code), start, end);
    return true;
  }
  if (position_ >= end_) return false;
  const uint32_t start = position_;
  char32_t code = utf8::next(text_, position_);
  uint8_t classes = unicode::classify(code);
  if (options_.clean_text) {
    if ((classes & unicode::kDropped) != 0) return true;
    if ((classes & unicode::kSpace) != 0) {
      code = ' ';
      classes = unicode::kSpace;
    }
  }
  const bool ideograph = options_.handle_chinese_characters && unicode::is_chinese(code);
  if (ideograph) push(' ', unicode::kSpace, start, position_);
  if (options_.strip_accents) {
    push_decomposed(code, classes, start);
  } else {
    push_lowercase(code, classes, start, position_);
  }
  if (ideograph) push(' ', unicode::kSpace, start, position_);
  return true;
}

}  // namespace pets::tokenizer
