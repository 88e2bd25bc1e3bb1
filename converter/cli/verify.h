// `pets-convert verify`: are the files whole, does this build give the answers that were recorded at packing, and are they those of
// another implementation?
#pragma once

#include <string>
#include <vector>

#include "converter/cli/console.h"

namespace pets::converter {

struct VerifyOptions {
  std::vector<std::string> files;  ///< bundles, and delta bundles of their bases
  std::string against;             ///< EXPECTED.jsonl; empty: none
  double tolerance = 1e-4;         ///< of the task's largest expected logit
};

/// Prints one line a task on stdout, what is wrong on the console. True where all is well.
bool verify(const VerifyOptions& options, Console& console);

}  // namespace pets::converter
