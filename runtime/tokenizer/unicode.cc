#include "runtime/tokenizer/unicode.h"

#include <utf8proc.h>

#include <array>
#include <cstddef>

#include "runtime/tokenizer/unicode_classes.h"

namespace pets::tokenizer::unicode {
namespace {

constexpr uint32_t kPoints = 0x110000;
constexpr uint32_t kBlockShift = 7;
constexpr size_t kRuns = std::size(kClassRuns);
static_assert(kRuns < UINT16_MAX);

// For each block of 128 code points the run that its first one is in: a lookup searches between two neighbours.
constexpr auto kBlocks = [] {
  std::array<uint16_t, (kPoints >> kBlockShift) + 1> blocks{};
  size_t run = 0;
  for (uint32_t block = 0; block < blocks.size(); ++block) {
    while (run + 1 < kRuns && kClassRuns[run + 1] >> 8 <= block << kBlockShift) ++run;
    blocks[block] = static_cast<uint16_t>(run);
  }
  return blocks;
}();

bool contains(const PointRun* runs, size_t count, char32_t code) noexcept {
  for (size_t i = 0; i < count && runs[i].first <= code; ++i) {
    if (code <= runs[i].last) return true;
  }
  return false;
}

}  // namespace

uint8_t classify(char32_t code) noexcept {
  if (code >= kPoints) return 0;
  uint32_t low = kBlocks[code >> kBlockShift], high = kBlocks[(code >> kBlockShift) + 1] + 1u;  // the run is in [low, high)
  const uint32_t key = static_cast<uint32_t>(code) << 8 | 0xFF;
  while (high - low > 1) {
    const uint32_t middle = (low + high) / 2;
    if (kClassRuns[middle] <= key) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return static_cast<uint8_t>(kClassRuns[low] & 0xFF);
}

void decompose(char32_t code, uint8_t classes, Decomposition& out) noexcept {
  out.code[0] = code;
  out.combining[0] = 0;
  out.count = 1;
  if ((classes & kConsult) == 0) return;
  utf8proc_int32_t parts[4];
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), parts, 4, UTF8PROC_DECOMPOSE, &boundary);
  if (count < 1 || count > 4) return;  // no character decomposes into more than four
  out.count = static_cast<uint32_t>(count);
  for (uint32_t i = 0; i < out.count; ++i) {
    out.code[i] = static_cast<char32_t>(parts[i]);
    out.combining[i] = static_cast<uint8_t>(utf8proc_get_property(parts[i])->combining_class);
  }
}

uint32_t lowercase(char32_t code, uint8_t classes, char32_t out[2]) noexcept {
  out[0] = code;
  if ((classes & kConsult) == 0) return 1;
  if (code == 0x130) {  // the only character whose lowercase is longer: i and a combining dot above
    out[0] = 'i';
    out[1] = 0x307;
    return 2;
  }
  for (const LowercaseRun& run : kLowercaseAdditions) {
    if (code >= run.first && code <= run.last) {
      out[0] = static_cast<char32_t>(static_cast<int32_t>(code) + run.difference);
      return 1;
    }
  }
  out[0] = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
  return 1;
}

bool is_word(char32_t code) noexcept {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return contains(kWordAdditions, std::size(kWordAdditions), code);
  }
}

}  // namespace pets::tokenizer::unicode
