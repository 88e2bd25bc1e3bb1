// The last check of a task before it is packed, whatever it was read from.
#pragma once

#include "converter/model/base_model.h"
#include "converter/model/operators.h"
#include "pets/status.h"

namespace pets::converter {

/// Operators fit the base's shapes, one of a kind at a site, indices in range, every value finite, head complete. The message names task,
/// site, what was expected and found.
Status check_task(const BaseModel& base, const PetTask& task);

}  // namespace pets::converter
