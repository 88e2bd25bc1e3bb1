#include "runtime/tokenizer/part_encoder.h"

#include <algorithm>

#include "runtime/platform/utf8.h"
#include "runtime/tokenizer/unicode.h"
#include "schema/bundle_generated.h"

namespace pets::tokenizer {
namespace {

// The character that ends at `end`, which is over 0; moves `end` to its start.
char32_t previous(const char* text, uint32_t& end) noexcept {
  do {
    --end;
  } while (utf8::is_continuation(text[end]));
  uint32_t position = end;
  return utf8::next(text, position);
}

bool is_space(char32_t code) noexcept { return (unicode::classify(code) & unicode::kSpace) != 0; }

bool starts_with_word(NormalizedStream stream) noexcept {
  NormalizedCharacter c{};
  return stream.next(c) && unicode::is_word(c.code);
}

// The end of the white space at the front of the stream, or `end` where there is none.
uint32_t skip_spaces(NormalizedStream stream, uint32_t end) noexcept {
  NormalizedCharacter c{};
  while (stream.next(c) && (c.classes & unicode::kSpace) != 0) end = c.end;
  return end;
}

bool are_spaces(NormalizedStream stream, uint32_t count) noexcept {
  NormalizedCharacter c{};
  for (; count > 0; --count) {
    if (!stream.next(c) || (c.classes & unicode::kSpace) == 0) return false;
  }
  return true;
}

}  // namespace

bool PartEncoder::is_single_word(uint32_t start, uint32_t end) const noexcept {
  if (start > 0 && unicode::is_word(previous(text_.data(), start))) return false;
  return end == text_.size() || !unicode::is_word(utf8::next(text_.data(), end));
}

uint32_t PartEncoder::skip_raw_spaces_back(uint32_t from, uint32_t not_before) const noexcept {
  while (from > not_before) {
    uint32_t start = from;
    if (!is_space(previous(text_.data(), start))) break;
    from = start;
  }
  return std::max(from, not_before);
}

uint32_t PartEncoder::skip_raw_spaces(uint32_t from) const noexcept {
  while (from < text_.size()) {
    uint32_t behind = from;
    if (!is_space(utf8::next(text_.data(), behind))) break;
    from = behind;
  }
  return from;
}

void PartEncoder::run() noexcept {
  uint32_t done = 0;        // encoded so far
  uint32_t from = 0;        // searched so far
  uint32_t spaces_end = 0;  // end of the white space that an rstrip took last
  while (tables_.added.any_raw() && !sink_.full()) {
    const AddedTokens::Match match = tables_.added.find_raw(text_, from);
    if (match.token == nullptr) break;
    from = match.end;
    uint32_t start = match.start, end = match.end;
    if (match.token->single_word() && !is_single_word(start, end)) continue;
    if (match.token->lstrip()) start = skip_raw_spaces_back(start, done);
    if (match.token->rstrip()) end = spaces_end = end < spaces_end ? spaces_end : skip_raw_spaces(end);
    if (done < start) encode_piece(done, start);
    if (sink_.full()) return;
    if (start < end) sink_.add(match.token->id(), start, end);  // else an rstrip took it whole: the library drops it
    done = end;                                                 // as the library, also where that is a step back
  }
  const auto size = static_cast<uint32_t>(text_.size());
  if (done < size && !sink_.full()) encode_piece(done, size);
}

void PartEncoder::take(const NormalizedCharacter& c) noexcept {
  if ((c.classes & unicode::kSpace) != 0) {
    end_word();
  } else if ((c.classes & unicode::kPunctuation) != 0) {
    end_word();
    word_.append(c.code, c.start, c.end);
    end_word();
  } else {
    word_.append(c.code, c.start, c.end);
  }
}

void PartEncoder::encode_ascii(NormalizedStream& stream) noexcept {
  uint32_t position = stream.position(), last_kept = stream.sequence_begin();
  const uint32_t end = stream.end();
  for (; position < end && !sink_.full(); ++position) {
    const auto byte = static_cast<unsigned char>(text_[position]);
    if (byte >= 0x80) break;
    const uint8_t action = tables_.ascii[byte];
    if (action == kAsciiDropped) continue;
    last_kept = position;
    if (action < 0x80) {
      word_.append_ascii(action, position);
      continue;
    }
    end_word();
    if (action == kAsciiPunctuation) {
      word_.append_ascii(byte, position);
      end_word();
    }
  }
  stream.skip_ascii(position, last_kept);
}

void PartEncoder::encode_piece(uint32_t begin, uint32_t end) noexcept {
  if (tables_.added.any_normalized()) return encode_piece_with_added_tokens(begin, end);
  NormalizedStream characters = stream(begin, end);
  while (!sink_.full()) {
    NormalizedCharacter c;
    if (characters.at_ascii()) {
      encode_ascii(characters);
    } else if (characters.next(c)) {
      take(c);
    } else {
      break;
    }
  }
  end_word();
}

void PartEncoder::encode_piece_with_added_tokens(uint32_t begin, uint32_t end) noexcept {
  NormalizedStream characters = stream(begin, end), after = characters;
  NormalizedCharacter c{}, last{};
  char32_t before = ' ';         // the character in front
  uint32_t spaces_start = 0;     // white space in front that no token took starts here,
  bool has_spaces = false;       // if there is any
  uint32_t spaces_end = 0;       // an rstrip took the white space up to here,
  bool in_taken_spaces = false;  // and it still goes on
  uint32_t discarded = 0;        // characters left of a match that was no single word: they are not searched again
  while (!sink_.full() && characters.next(c)) {
    uint32_t count = 0;
    const auto* token = discarded == 0 ? tables_.added.match_normalized(c, characters, after, last, count) : nullptr;
    if (token != nullptr && token->single_word() && (unicode::is_word(before) || starts_with_word(after))) {
      token = nullptr;
      discarded = count;
    }
    if (discarded > 0) --discarded;
    if (token == nullptr) {
      if ((c.classes & unicode::kSpace) == 0) {
        has_spaces = in_taken_spaces = false;
      } else if (!has_spaces && !in_taken_spaces) {
        has_spaces = true;
        spaces_start = c.start;
      }
      before = c.code;
      take(c);
      continue;
    }
    end_word();
    const uint32_t start = token->lstrip() && has_spaces ? spaces_start : c.start;
    const bool is_space = (c.classes & unicode::kSpace) != 0 && are_spaces(characters, count - 1);
    // Its white space belongs to the token before, and it strips to its left: nothing is left of it, and the library drops it.
    const bool is_taken = token->lstrip() && in_taken_spaces && is_space;
    if (token->rstrip()) {
      if (!in_taken_spaces || !is_space) spaces_end = skip_spaces(after, last.end);
      in_taken_spaces = true;
    } else {
      in_taken_spaces = in_taken_spaces && is_space;
    }
    if (!is_taken) sink_.add(token->id(), start, token->rstrip() ? std::max(last.end, spaces_end) : last.end);
    has_spaces = false;
    before = last.code;
    characters = after;
  }
  end_word();
}

}  // namespace pets::tokenizer
