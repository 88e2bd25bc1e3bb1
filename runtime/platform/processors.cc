#include "runtime/platform/processors.h"

#include <sched.h>

#include <algorithm>
#include <thread>

namespace pets {

uint32_t usable_processors() noexcept {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<uint32_t>(std::max(1, CPU_COUNT(&set)));
  return std::max(1U, std::thread::hardware_concurrency());  // over 1,024 processors the mask does not fit
}

}  // namespace pets
