// Instruction sets that the kernels are built for, and what this CPU has.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace pets::kernels {

/// Ascending: a greater value is preferred where the CPU has it. The last words of a name are what the level adds to the one it builds on
/// (base_isa): neon_dot is Armv8.2 with dot products and half-precision arithmetic (Cortex-A78AE), neon_bf16 has bfloat16 and int8
/// matrix products too (Neoverse V3AE), avx512_vnni and avx512_bf16 are AVX-512 with these extensions, the latter with both and with
/// BITALG (Zen 4, Sapphire Rapids and later); avx512_amx has the matrix tiles of Sapphire Rapids besides, for bfloat16 and int8.
enum class Isa : uint8_t {
  kPortable = 0,
  kNeon = 1,
  kNeonDot = 2,
  kNeonBf16 = 3,
  kAvx2 = 4,
  kAvx512 = 5,
  kAvx512Vnni = 6,
  kAvx512Bf16 = 7,
  kAvx512Amx = 8
};
inline constexpr Isa kAllIsas[] = {Isa::kPortable, Isa::kNeon,       Isa::kNeonDot,    Isa::kNeonBf16, Isa::kAvx2,
                                   Isa::kAvx512,   Isa::kAvx512Vnni, Isa::kAvx512Bf16, Isa::kAvx512Amx};

/// "portable", "neon", "neon_dot", "neon_bf16", "avx2", "avx512", "avx512_vnni", "avx512_bf16", "avx512_amx": the names that PETS_ISA
/// takes.
std::string_view isa_name(Isa isa);
std::optional<Isa> parse_isa(std::string_view name);
/// The instruction set whose kernels `isa` shares, all but the dot products: itself for those that have kernels of their own.
Isa base_isa(Isa isa);
/// True where this build holds the kernels and both CPU and operating system can run them. For avx512_amx it asks the operating system for
/// the process's use of tiles.
bool isa_available(Isa isa);
/// The best available one: the greatest, but on Intel's CPUs avx512_vnni instead of avx512_bf16. vdpbf16ps has half the rate of fp32
/// multiply-adds there (measured on Emerald Rapids, docs/decisions.md section 18), so bfloat16 weights are better widened.
Isa best_isa();

}  // namespace pets::kernels
