// Counts heap allocations and mappings of the whole process. Link `pets_allocations` into the test program (not under sanitizers, whose own
// allocator excludes it): malloc and its relatives and mmap are interposed there.
#pragma once

namespace pets::testing_util {

/// Counts from here on, all threads.
void start_counting_allocations();
/// Stops, and says how many there were.
int stop_counting_allocations();

}  // namespace pets::testing_util
