// Checks of text that comes from files.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pets::converter {

/// The offset of the first byte that is not part of a valid UTF-8 sequence (RFC 3629: shortest form, no surrogates), or npos.
size_t find_invalid_utf8(std::string_view text);

/// True if `text` holds a control character (U+0000 to U+001F, U+007F to U+009F) or is not UTF-8.
bool has_control_character(std::string_view text);

/// `text` in back quotes, made fit for a one-line message.
std::string in_quotes(std::string_view text);

}  // namespace pets::converter
