// The subcommands of pets-bench that look at serving: `simulate` in virtual time, `serve` for real.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>

namespace pets::benchmarks {

/// Adds both. What it returns runs the one that was given and says its exit status; nothing where it was another command. The options live
/// in what is returned.
std::function<std::optional<int>()> add_serving_commands(CLI::App& app);

}  // namespace pets::benchmarks
