// Tasks whose library model never passes token types on.
#pragma once

#include "converter/model/operator_set.h"

namespace pets::converter {

/// Makes every token type's embedding the first one's: then the ids' token types do not matter, as where the encoder sees only zeros.
/// Takes a row 0 that the task replaced already into account.
void drop_token_types(const BaseModel& base, OperatorSet& operators);

}  // namespace pets::converter
