#include "runtime/bundle/text.h"

#include <algorithm>

#include "runtime/platform/utf8.h"

namespace pets::bundle {

bool is_valid_task_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kMaxNameBytes && !utf8::has_control_character(name);
}

bool is_valid_fingerprint(std::string_view text) noexcept {
  return text.size() == 32 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace pets::bundle
