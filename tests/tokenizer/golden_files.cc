#include "tests/tokenizer/golden_files.h"

#include <gtest/gtest.h>
#include <stdio.h>

#include <cstring>

namespace pets::tokenizer::testing {

std::filesystem::path golden_directory() { return std::filesystem::path(PETS_GOLDEN_DIR) / "tokenizer"; }

void for_each_line(const std::filesystem::path& path, const std::function<void(const std::string&)>& use) {
  const std::string command = (path.extension() == ".gz" ? "gzip -dc '" : "cat '") + path.string() + "'";
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr) << command;
  std::string line;
  char chunk[1 << 14];
  while (fgets(chunk, sizeof(chunk), pipe) != nullptr) {
    line += chunk;
    if (line.back() != '\n') continue;
    line.pop_back();
    use(line);
    line.clear();
  }
  if (!line.empty()) use(line);
  ASSERT_EQ(pclose(pipe), 0) << command;
}

}  // namespace pets::tokenizer::testing
