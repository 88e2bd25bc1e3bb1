#include "runtime/tokenizer/combining_run.h"

#include "runtime/platform/utf8.h"

namespace pets::tokenizer {
namespace {

constexpr int kNoClass = 256;

bool is_kept(const PartCursor::Part& part) noexcept { return part.combining != 0 && (unicode::classify(part.code) & unicode::kMark) == 0; }

}  // namespace

bool PartCursor::next(Part& part) noexcept {
  while (index_ >= parts_.count) {
    if (position_ >= end_) return false;
    start_ = position_;
    const char32_t code = utf8::next(text_, position_);
    const uint8_t classes = unicode::classify(code);
    if (clean_text_ && (classes & unicode::kDropped) != 0) continue;
    unicode::decompose(code, classes, parts_);
    index_ = 0;
  }
  part = {parts_.code[index_], parts_.combining[index_], index_ == 0, start_, position_};
  ++index_;
  return true;
}

CombiningRun::CombiningRun(const char* text, uint32_t begin, uint32_t end, bool clean_text) noexcept
    : begin_(text, begin, end, clean_text), places_(begin_), active_(true) {
  PartCursor probe = begin_;
  PartCursor::Part part{};
  has_starter_ = probe.next(part) && part.combining == 0;
  active_ = enter_next_class();
}

bool CombiningRun::enter_next_class() noexcept {
  int next_class = kNoClass;
  PartCursor::Part part{};
  for (PartCursor scan = begin_; scan.next(part);) {
    if (part.combining > combining_ && part.combining < next_class && is_kept(part)) next_class = part.combining;
  }
  if (next_class == kNoClass) return false;
  combining_ = next_class;
  rank_ = 0;
  for (PartCursor scan = begin_; scan.next(part);) {
    if (part.first && part.combining != 0 && part.combining < next_class) ++rank_;
  }
  cursor_ = begin_;
  return true;
}

void CombiningRun::place(uint32_t rank, uint32_t& start, uint32_t& end) noexcept {
  const uint32_t wanted = rank + (has_starter_ ? 1 : 0);
  PartCursor::Part part{};
  while (placed_ < wanted && places_.next(part)) {
    if (!part.first) continue;
    place_ = part;
    ++placed_;
  }
  start = place_.start;
  end = place_.end;
}

bool CombiningRun::next(char32_t& code, uint32_t& start, uint32_t& end) noexcept {
  PartCursor::Part part{};
  while (active_) {
    while (cursor_.next(part)) {
      if (part.combining != combining_) continue;
      if (part.first) ++rank_;
      if (!is_kept(part)) continue;
      code = part.code;
      place(rank_, start, end);
      return true;
    }
    active_ = enter_next_class();
  }
  return false;
}

}  // namespace pets::tokenizer
