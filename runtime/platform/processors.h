// How many processors this process may use.
#pragma once

#include <cstdint>

namespace pets {

/// Processors that the calling thread may run on, at least 1: those of its affinity mask (`taskset`, a container's cpuset), not all that
/// the machine has. Where more threads than that spin while they wait for each other, each steals the time that another one needs.
/// A quota of time (`docker --cpus`) is no part of it.
uint32_t usable_processors() noexcept;

}  // namespace pets
