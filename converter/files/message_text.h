// Pieces of error messages: text from a file made fit for one line, shapes, paths.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pets::converter {

/// `text` in back quotes, made fit for a one-line message.
std::string in_quotes(std::string_view text);
/// "[3, 4]".
std::string shape_text(const std::vector<uint64_t>& shape);
/// `directory/name`, without doubling the slash.
std::string join_path(const std::string& directory, const std::string& name);
/// A regular file (or a link to one).
bool is_file(const std::string& path);

}  // namespace pets::converter
