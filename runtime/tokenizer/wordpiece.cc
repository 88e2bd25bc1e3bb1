#include "runtime/tokenizer/wordpiece.h"

#include <algorithm>
#include <cstring>

#include "runtime/platform/utf8.h"

namespace pets::tokenizer {

WordBuffer::WordBuffer(std::span<std::byte> scratch, uint32_t max_characters, size_t prefix) noexcept : max_characters_(max_characters) {
  const size_t misaligned = reinterpret_cast<uintptr_t>(scratch.data()) % alignof(uint32_t);
  std::byte* at = scratch.data() + (misaligned == 0 ? 0 : alignof(uint32_t) - misaligned);
  starts_ = reinterpret_cast<uint32_t*>(at);
  ends_ = starts_ + size_t{4} * max_characters;
  text_ = reinterpret_cast<char*>(ends_ + size_t{4} * max_characters) + prefix;
}

void WordBuffer::append(char32_t code, uint32_t start, uint32_t end) noexcept {
  if (characters_ == 0) first_start_ = start;
  last_end_ = end;
  if (++characters_ > max_characters_) return;
  const uint32_t size = utf8::encode(code, text_ + length_);
  for (uint32_t i = 0; i < size; ++i, ++length_) {
    starts_[length_] = start;
    ends_[length_] = end;
  }
}

bool WordPieceModel::split(WordBuffer& word, TokenSink& sink) const noexcept {
  const uint32_t longest = vocabulary.longest();
  for (uint32_t begin = 0; begin < word.length_;) {
    // A continuing piece is looked up with the prefix in front: it goes over bytes that are already dealt with.
    const auto before = static_cast<uint32_t>(begin == 0 ? 0 : prefix.size());
    if (longest <= before) return false;
    char* text = word.text_ + begin - before;
    if (before != 0) std::memcpy(text, prefix.data(), before);
    int64_t id = -1;
    uint32_t size = std::min(word.length_ - begin, longest - before);
    for (; size > 0; --size) {
      if (begin + size < word.length_ && utf8::is_continuation(word.text_[begin + size])) continue;
      if (!vocabulary.has_length(before + size)) continue;
      id = vocabulary.find({text, before + size});
      if (id >= 0) break;
    }
    if (id < 0) return false;
    sink.add(static_cast<uint32_t>(id), word.starts_[begin], word.ends_[begin + size - 1]);
    begin += size;
  }
  return true;
}

void WordPieceModel::tokenize(WordBuffer& word, TokenSink& sink) const noexcept {
  if (word.empty()) return;
  const uint64_t before = sink.count();
  if (word.too_long() || !split(word, sink)) {
    sink.rewind(before);
    sink.add(unknown_id, word.first_start_, word.last_end_);
  }
  word.clear();
}

}  // namespace pets::tokenizer
