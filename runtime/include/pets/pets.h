// The whole public API of libpets.
#pragma once

#include "pets/metrics.h"      // IWYU pragma: export
#include "pets/model.h"        // IWYU pragma: export
#include "pets/server.h"       // IWYU pragma: export
#include "pets/session.h"      // IWYU pragma: export
#include "pets/status.h"       // IWYU pragma: export
#include "pets/thread_pool.h"  // IWYU pragma: export
#include "pets/types.h"        // IWYU pragma: export
#include "pets/version.h"      // IWYU pragma: export
