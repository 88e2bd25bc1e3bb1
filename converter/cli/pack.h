// `pets-convert pack` and `add`: from a manifest to a bundle or a delta bundle.
#pragma once

#include <limits>
#include <optional>
#include <string>

#include "converter/bundle/bundle_writer.h"
#include "converter/cli/console.h"

namespace pets::converter {

struct PackOptions {
  std::string manifest;
  std::string output;
  Target target = Target::kCpu;
  std::optional<Precision> precision;  ///< beats the manifest's
  std::string calibration;             ///< a text file, one text a line; empty: none
  double max_drift = std::numeric_limits<double>::infinity();
};

/// Reads base and tasks, packs them, lets the engine answer the golden queries, and puts the bundle in place with those answers. Every
/// error of every task is reported on the console; with any, nothing is written. True where all went well.
bool pack(const PackOptions& options, Console& console);

struct AddOptions {
  std::string bundle;  ///< whose base the tasks belong to
  std::string manifest;
  std::string output;
};

/// Packs the manifest's tasks alone, bound to the bundle's base. The base is unpacked from the bundle where the manifest names none.
bool add(const AddOptions& options, Console& console);

}  // namespace pets::converter
