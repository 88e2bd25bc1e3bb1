// Instruction sets that the kernels are built for, and what this CPU has.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace pets::kernels {

/// Ascending: a greater value is preferred where the CPU has it.
enum class Isa : uint8_t { kPortable = 0, kNeon = 1, kAvx2 = 2, kAvx512 = 3 };
inline constexpr Isa kAllIsas[] = {Isa::kPortable, Isa::kNeon, Isa::kAvx2, Isa::kAvx512};

/// "portable", "neon", "avx2", "avx512": the names that PETS_ISA takes.
std::string_view isa_name(Isa isa);
std::optional<Isa> parse_isa(std::string_view name);
/// True where this build holds the kernels and both CPU and operating system can run them.
bool isa_available(Isa isa);
/// The best available one.
Isa best_isa();

}  // namespace pets::kernels
