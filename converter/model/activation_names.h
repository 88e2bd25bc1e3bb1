// The names of activations in the files of transformers, adapters and of the operators format.
#pragma once

#include <optional>
#include <string_view>

#include "converter/model/operators.h"

namespace pets::converter {

/// As transformers' `get_activation` knows them (`hidden_act`, AdapterHub's `non_linearity`). Nothing for one that this project does not
/// compute (`gelu_10`, `laplace`, `relu2`, `prelu`, `xielu`) or that nobody knows.
std::optional<Activation> transformers_activation(std::string_view name);

/// The first of those names that means `activation`.
std::string_view transformers_activation_name(Activation activation);

/// As `adapters` reads them: in any case of letters, and `leakyrelu` too.
std::optional<Activation> adapterhub_activation(std::string_view name);

/// As docs/operators-format.md lists them.
std::optional<Activation> operators_activation(std::string_view name);

}  // namespace pets::converter
