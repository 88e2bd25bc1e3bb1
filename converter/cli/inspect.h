// `pets-convert inspect`: what a bundle holds, for people or as JSON.
#pragma once

#include <string>

#include "converter/cli/console.h"

namespace pets::converter {

struct InspectOptions {
  std::string file;
  bool json = false;
};

/// Prints the listing on stdout. Checks the structure, not the payload's checksums (`verify` does). False where the file or a task of it
/// is damaged; the listing then says so.
bool inspect(const InspectOptions& options, Console& console);

}  // namespace pets::converter
