#include "benchmarks/kernels/dot_peak.h"

#include "benchmarks/kernels/fma_peak.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace pets::benchmarks {
namespace {

// As in fma_peak.cc; vdpbf16ps has a latency of 6 on Zen 5, two a cycle, and with 12 chains 0.92 of its rate.
constexpr int kDotChains = 12, kDotChainsOf32 = 16;
constexpr long kDotSteps = 100000;  // these too

// The instructions are written out: of what does not change from step to step, a compiler would make one.
#define PETS_DOT_LOOP(Vector, step)                                                                 \
  Vector one{}, t{};                                                                                \
  Vector a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{}, i{}, j{}, k{}, l{};                                \
  for (long n = 0; n < kDotSteps; ++n) {                                                            \
    step(a) step(b) step(c) step(d) step(e) step(f) step(g) step(h) step(i) step(j) step(k) step(l) \
  }                                                                                                 \
  static_cast<void>(t);
#define PETS_DOT_LOOP_OF_32(Vector, step)                                                                                           \
  Vector one{}, t{};                                                                                                                \
  Vector a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{}, i{}, j{}, k{}, l{}, m{}, o{}, p{}, q{};                                            \
  for (long n = 0; n < kDotSteps; ++n) {                                                                                            \
    step(a) step(b) step(c) step(d) step(e) step(f) step(g) step(h) step(i) step(j) step(k) step(l) step(m) step(o) step(p) step(q) \
  }                                                                                                                                 \
  static_cast<void>(t);

#if defined(__x86_64__)
#define PETS_STEP(sum) __asm__ volatile("vpmaddubsw %2, %2, %1\n vpmaddwd %2, %1, %1\n vpaddd %1, %0, %0" : "+x"(sum), "=&x"(t) : "x"(one));
__attribute__((target("avx2"))) void int8_avx2() { PETS_DOT_LOOP(__m256i, PETS_STEP) }
#undef PETS_STEP
#define PETS_STEP(sum) __asm__ volatile("vpmaddwd %2, %2, %1\n vpaddd %1, %0, %0" : "+v"(sum), "=&v"(t) : "v"(one));
__attribute__((target("avx512f"))) void int8_avx512() { PETS_DOT_LOOP_OF_32(__m512i, PETS_STEP) }
#undef PETS_STEP
#define PETS_STEP(sum) __asm__ volatile("vpdpbusd %1, %1, %0" : "+v"(sum) : "v"(one));
__attribute__((target("avx512f"))) void int8_avx512_vnni() { PETS_DOT_LOOP_OF_32(__m512i, PETS_STEP) }
#undef PETS_STEP
#define PETS_STEP(sum) __asm__ volatile("vdpbf16ps %1, %1, %0" : "+v"(sum) : "v"(one));
__attribute__((target("avx512f"))) void bf16_avx512() { PETS_DOT_LOOP_OF_32(__m512i, PETS_STEP) }
#undef PETS_STEP
// Tiles of AMX: as many products as 16 vectors of 16 sums. Four chains are enough (one is: sums are passed on).
#define PETS_TILE_LOOP(instruction)                                                                        \
  struct alignas(64) {                                                                                     \
    uint8_t palette[16] = {1};                                                                             \
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};                                             \
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};                                                   \
  } const shapes;                                                                                          \
  __asm__ volatile("ldtilecfg %0" : : "m"(shapes));                                                        \
  for (long n = 0; n < kDotSteps * kDotChains / (4 * 16); ++n) {                                           \
    __asm__ volatile(instruction " %tmm6, %tmm4, %tmm0\n" instruction " %tmm7, %tmm4, %tmm1\n" instruction \
                                 " %tmm6, %tmm5, %tmm2\n" instruction " %tmm7, %tmm5, %tmm3");             \
  }                                                                                                        \
  __asm__ volatile("tilerelease");
__attribute__((target("amx-tile,amx-int8"))) void int8_amx() { PETS_TILE_LOOP("tdpbssd") }
__attribute__((target("amx-tile,amx-bf16"))) void bf16_amx() { PETS_TILE_LOOP("tdpbf16ps") }
#undef PETS_TILE_LOOP
#elif defined(__aarch64__)
#define PETS_STEP(sum) \
  __asm__ volatile("smull %1.8h, %2.8b, %2.8b\n smlal2 %1.8h, %2.16b, %2.16b\n sadalp %0.4s, %1.8h" : "+w"(sum), "=&w"(t) : "w"(one));
void int8_neon() { PETS_DOT_LOOP_OF_32(int8x16_t, PETS_STEP) }
#undef PETS_STEP
#define PETS_STEP(sum) __asm__ volatile(".arch_extension dotprod\n sdot %0.4s, %1.16b, %1.4b[0]" : "+w"(sum) : "w"(one));
void int8_neon_dot() { PETS_DOT_LOOP_OF_32(int8x16_t, PETS_STEP) }
#undef PETS_STEP
#define PETS_STEP(sum) __asm__ volatile(".arch_extension i8mm\n smmla %0.4s, %1.16b, %1.16b" : "+w"(sum) : "w"(one));
void int8_neon_mmla() { PETS_DOT_LOOP_OF_32(int8x16_t, PETS_STEP) }
#undef PETS_STEP
#define PETS_STEP(sum) __asm__ volatile(".arch_extension bf16\n bfmmla %0.4s, %1.8h, %1.8h" : "+w"(sum) : "w"(one));
void bf16_neon() { PETS_DOT_LOOP_OF_32(int8x16_t, PETS_STEP) }
#undef PETS_STEP
#endif

struct DotLoop {
  void (*run)() = nullptr;
  int products = 0;  ///< of a chain in a step
  int chains = kDotChainsOf32;
};

DotLoop dot_loop_for(kernels::Isa isa, kernels::WeightType type) {
  const bool int8 = type == kernels::WeightType::kInt8;
  switch (isa) {
#if defined(__x86_64__)
    case kernels::Isa::kAvx2:
      return int8 ? DotLoop{int8_avx2, 32, kDotChains} : DotLoop{};
    case kernels::Isa::kAvx512:
      return int8 ? DotLoop{int8_avx512, 32} : DotLoop{};
    case kernels::Isa::kAvx512Vnni:
      return int8 ? DotLoop{int8_avx512_vnni, 64} : DotLoop{};
    case kernels::Isa::kAvx512Bf16:
      return int8 ? DotLoop{int8_avx512_vnni, 64} : DotLoop{bf16_avx512, 32};
    case kernels::Isa::kAvx512Amx:
      return int8 ? DotLoop{int8_amx, 16 * 64, kDotChains} : DotLoop{bf16_amx, 16 * 32, kDotChains};
#elif defined(__aarch64__)
    case kernels::Isa::kNeon:
      return int8 ? DotLoop{int8_neon, 16} : DotLoop{};
    case kernels::Isa::kNeonDot:
      return int8 ? DotLoop{int8_neon_dot, 16} : DotLoop{};
    case kernels::Isa::kNeonBf16:
      return int8 ? DotLoop{int8_neon_mmla, 32} : DotLoop{bf16_neon, 16};
#endif
    default:
      return {};
  }
}

double measured_rate(const DotLoop& loop, double seconds, double (*now)()) {
  if (loop.run == nullptr) return 0;
  const double start = now();
  double runs = 0, elapsed = 0;
  do {
    loop.run();
    ++runs;
    elapsed = now() - start;
  } while (elapsed < seconds);
  return runs * static_cast<double>(kDotSteps) * loop.chains * loop.products * 2 / elapsed * 1e-9;
}

}  // namespace

double dot_peak_of_this_thread(kernels::Isa isa, kernels::WeightType type, double seconds) {
  return measured_rate(dot_loop_for(isa, type), seconds, thread_seconds);
}

double dot_peak_gops(unsigned threads, kernels::Isa isa, kernels::WeightType type, double seconds) {
  return sum_over_threads(threads, [=] { return measured_rate(dot_loop_for(isa, type), seconds, clock_seconds); });
}

}  // namespace pets::benchmarks
