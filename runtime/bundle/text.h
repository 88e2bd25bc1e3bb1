// Checks on the texts that a bundle carries, and their safe form in messages.
#pragma once

#include <string>
#include <string_view>

namespace pets::bundle {

inline constexpr size_t kMaxNameBytes = 256;  ///< of a task's name

/// Well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_valid_utf8(std::string_view text) noexcept;

/// A task's name: 1 to 256 bytes of UTF-8 without control characters.
bool is_valid_task_name(std::string_view name) noexcept;

/// 32 lowercase hexadecimal digits.
bool is_valid_fingerprint(std::string_view text) noexcept;

/// The text for a one-line message: control characters and invalid bytes become '?', long texts are cut.
std::string printable(std::string_view text);

}  // namespace pets::bundle
