// A PET trained with another tokenizer than the base's would read other ids.
#pragma once

#include <string>

#include "converter/model/base_model.h"
#include "pets/status.h"

namespace pets::converter {

/// Where a PET's directory carries tokenizer files too (trainers save them beside the weights), they must give the same ids as the base's.
Status check_same_tokenizer(const BaseModel& base, const std::string& directory);

}  // namespace pets::converter
