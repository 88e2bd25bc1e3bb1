// Checks on the texts that a bundle carries.
#pragma once

#include <cstddef>
#include <string_view>

namespace pets::bundle {

inline constexpr size_t kMaxNameBytes = 256;  ///< of a task's name

/// A task's name: 1 to 256 bytes of UTF-8 without control characters.
bool is_valid_task_name(std::string_view name) noexcept;

/// 32 lowercase hexadecimal digits.
bool is_valid_fingerprint(std::string_view text) noexcept;

}  // namespace pets::bundle
