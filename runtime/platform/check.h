// The two macros that keep error paths to one line.
#pragma once

#include "pets/status.h"

#define PETS_CONCATENATE_INNER(a, b) a##b
#define PETS_CONCATENATE(a, b) PETS_CONCATENATE_INNER(a, b)

/// Returns the status of `expression` from the calling function unless it is ok.
#define PETS_RETURN_IF_ERROR(expression)                                 \
  do {                                                                   \
    if (::pets::Status status_ = (expression); !status_) return status_; \
  } while (false)

/// Evaluates `expression`, a Result<T>; returns its status if it is an error, else declares `variable` with its value.
#define PETS_ASSIGN_OR_RETURN(variable, expression)                                              \
  auto PETS_CONCATENATE(result_, __LINE__) = (expression);                                       \
  if (!PETS_CONCATENATE(result_, __LINE__)) return PETS_CONCATENATE(result_, __LINE__).status(); \
  variable = std::move(PETS_CONCATENATE(result_, __LINE__)).value()
