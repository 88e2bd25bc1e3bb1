// The parts of the `operators` format (docs/operators-format.md).
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "converter/files/json_reader.h"
#include "converter/files/tensor_reader.h"
#include "converter/model/base_model.h"
#include "converter/model/operators.h"
#include "pets/status.h"

namespace pets::converter {

/// Reads the operator `kind` at `site`, whose tensors are `<site>:<kind>.<part>`. `options` is its object in the configuration; an empty
/// one where it has none. Shapes are checked against the base.
Result<Operator> read_operator(const BaseModel& base, Site site, const std::string& kind, const OrderedJson& options,
                               TensorReader* tensors);

/// Reads `config.head` and the tensors `head:<i>.<part>`; a head of unknown type where there is neither.
Result<HeadSpec> read_operators_head(const BaseModel& base, const OrderedJson& config, TensorReader* tensors);

}  // namespace pets::converter
