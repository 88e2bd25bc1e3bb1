// Reading of committed test data.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace pets::tokenizer::testing {

/// tests/golden/tokenizer.
std::filesystem::path golden_directory();

/// Calls `use` with each line of a text file; one that ends in .gz is read through gzip. A file that cannot be read fails the test.
void for_each_line(const std::filesystem::path& path, const std::function<void(const std::string&)>& use);

}  // namespace pets::tokenizer::testing
