#include "kernels/isa.h"

#include "kernels/cpu/variants.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace pets::kernels {
namespace {

constexpr std::string_view kNames[] = {"portable", "neon",        "neon_dot",    "neon_bf16", "avx2",
                                       "avx512",   "avx512_vnni", "avx512_bf16", "avx512_amx"};

#if defined(__x86_64__)
struct Cpuid {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};
Cpuid cpuid(unsigned leaf, unsigned part = 0) {
  Cpuid r;
  __get_cpuid_count(leaf, part, &r.eax, &r.ebx, &r.ecx, &r.edx);  // leaves all zero where the CPU has no such leaf
  return r;
}
constexpr bool all_set(unsigned value, unsigned bits) { return (value & bits) == bits; }
constexpr unsigned bit(int n) { return 1u << n; }

// Which register state the operating system saves (XCR0). Only where OSXSAVE is set.
unsigned saved_state() {
  unsigned eax, edx;
  __asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
  return eax;
}

// Linux saves the 8 KiB of tile registers only for processes that have asked for it; asking again changes nothing. Threads get the space
// when they first use a tile.
bool tiles_granted() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return all_set(saved_state(), bit(17) | bit(18)) && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool cpu_has(Isa isa) {
  if (isa == Isa::kPortable) return true;
  const Cpuid one = cpuid(1), seven = cpuid(7);
  constexpr unsigned kFma = bit(12), kOsXsave = bit(27), kAvx = bit(28), kF16c = bit(29);
  if (!all_set(one.ecx, kFma | kOsXsave | kAvx | kF16c)) return false;
  constexpr unsigned kBmi1 = bit(3), kAvx2 = bit(5), kBmi2 = bit(8);
  if (!all_set(seven.ebx, kBmi1 | kAvx2 | kBmi2)) return false;
  if (!all_set(saved_state(), bit(1) | bit(2))) return false;  // SSE and AVX registers
  if (isa == Isa::kAvx2) return true;
  constexpr unsigned kF = bit(16), kDq = bit(17), kCd = bit(28), kBw = bit(30), kVl = bit(31);
  if (!all_set(seven.ebx, kF | kDq | kCd | kBw | kVl)) return false;
  if (!all_set(saved_state(), bit(5) | bit(6) | bit(7))) return false;  // mask registers, upper halves, upper registers
  if (isa == Isa::kAvx512) return true;
  constexpr unsigned kVnni = bit(11), kBitalg = bit(12), kBf16 = bit(5);
  if (!all_set(seven.ecx, kVnni)) return false;
  if (isa == Isa::kAvx512Vnni) return true;
  if (seven.eax < 1 || !all_set(cpuid(7, 1).eax, kBf16)) return false;
  if (isa == Isa::kAvx512Bf16) return all_set(seven.ecx, kBitalg);
  constexpr unsigned kAmxBf16 = bit(22), kAmxTile = bit(24), kAmxInt8 = bit(25);
  return isa == Isa::kAvx512Amx && all_set(seven.edx, kAmxBf16 | kAmxTile | kAmxInt8) && tiles_granted();
}

bool is_intel() {
  const Cpuid zero = cpuid(0);
  return zero.ebx == 0x756E6547 && zero.edx == 0x49656E69 && zero.ecx == 0x6C65746E;  // "GenuineIntel"
}
#elif defined(__aarch64__) && defined(__linux__)
bool cpu_has(Isa isa) {
  if (isa == Isa::kPortable || isa == Isa::kNeon) return true;
  constexpr unsigned long kHalfArithmetic = 1UL << 10, kDotProduct = 1UL << 20, kInt8Matrix = 1UL << 13, kBfloat16 = 1UL << 14;
  constexpr unsigned long kFirst = kHalfArithmetic | kDotProduct, kSecond = kInt8Matrix | kBfloat16;
  if ((getauxval(AT_HWCAP) & kFirst) != kFirst) return false;
  return isa == Isa::kNeonDot || (isa == Isa::kNeonBf16 && (getauxval(AT_HWCAP2) & kSecond) == kSecond);
}
#elif defined(__aarch64__)
bool cpu_has(Isa isa) { return isa == Isa::kPortable || isa == Isa::kNeon; }  // nothing to ask
#else
bool cpu_has(Isa isa) { return isa == Isa::kPortable; }
#endif

#if !defined(__x86_64__)
bool is_intel() { return false; }
#endif

bool in_this_build(Isa isa) {
#define PETS_IS_VARIANT(variant, name) \
  if (isa == Isa::variant) return true;
  PETS_KERNEL_VARIANTS(PETS_IS_VARIANT)
#undef PETS_IS_VARIANT
#define PETS_IS_DOT_VARIANT(variant, name, base, base_name) \
  if (isa == Isa::variant) return true;
  PETS_DOT_VARIANTS(PETS_IS_DOT_VARIANT)
#undef PETS_IS_DOT_VARIANT
  return false;
}

}  // namespace

std::string_view isa_name(Isa isa) { return kNames[static_cast<size_t>(isa)]; }

std::optional<Isa> parse_isa(std::string_view name) {
  for (Isa isa : kAllIsas) {
    if (isa_name(isa) == name) return isa;
  }
  return std::nullopt;
}

Isa base_isa(Isa isa) {
#define PETS_BASE_OF(variant, name, base, base_name) \
  if (isa == Isa::variant) return Isa::base;
  PETS_DOT_VARIANTS(PETS_BASE_OF)
#undef PETS_BASE_OF
  return isa;
}

bool isa_available(Isa isa) { return in_this_build(isa) && cpu_has(isa); }

Isa best_isa() {
  Isa best = Isa::kPortable;
  for (Isa isa : kAllIsas) {
    if (isa_available(isa) && !(isa == Isa::kAvx512Bf16 && is_intel())) best = isa;
  }
  return best;
}

}  // namespace pets::kernels
