#include "benchmarks/kernels/fma_peak.h"

#include <sched.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace pets::benchmarks {
namespace {

// Enough chains for latency x units and some more, since instructions do not always go to the unit that is free first (Zen 5, 4 x 2: 12
// chains have 0.985 of the rate of 16): 16 where there are 32 registers (Neoverse V3AE: 4 x 4), 12 where there are 16 (4 x 2).
constexpr int kChains = 12, kChainsOf32 = 16;
constexpr long kSteps = 100000;  // some 100 us between looks at the clock: that of a thread is a system call, 0.3 us

/// A core that slept, or ran no wide vectors, takes a while to reach its clock: 3 % less in the first 2 ms.
constexpr double kWarmUpSeconds = 0.002;

// Every loop is written out with its own types, so that each can carry its own target attribute; the chains are named, not an array,
// so that they stay in registers. The empty asm keeps the compiler from folding the chains; it emits nothing.
#define PETS_FMA_LOOP(Vector, one, step)                                                                                               \
  Vector a = one, b = one, c = one, d = one, e = one, f = one, g = one, h = one, i = one, j = one, k = one, l = one;                   \
  for (long n = 0; n < kSteps; ++n) {                                                                                                  \
    a = step(a), b = step(b), c = step(c), d = step(d), e = step(e), f = step(f);                                                      \
    g = step(g), h = step(h), i = step(i), j = step(j), k = step(k), l = step(l);                                                      \
    __asm__ volatile(""                                                                                                                \
                     : PETS_KEEP(a), PETS_KEEP(b), PETS_KEEP(c), PETS_KEEP(d), PETS_KEEP(e), PETS_KEEP(f), PETS_KEEP(g), PETS_KEEP(h), \
                       PETS_KEEP(i), PETS_KEEP(j), PETS_KEEP(k), PETS_KEEP(l));                                                        \
  }
#define PETS_KEEP_8(a, b, c, d, e, f, g, h) \
  __asm__ volatile("" : PETS_KEEP(a), PETS_KEEP(b), PETS_KEEP(c), PETS_KEEP(d), PETS_KEEP(e), PETS_KEEP(f), PETS_KEEP(g), PETS_KEEP(h))
#define PETS_FMA_LOOP_OF_32(Vector, one, step)                                                                       \
  Vector a = one, b = one, c = one, d = one, e = one, f = one, g = one, h = one, i = one, j = one, k = one, l = one; \
  Vector m = one, o = one, p = one, q = one;                                                                         \
  for (long n = 0; n < kSteps; ++n) {                                                                                \
    a = step(a), b = step(b), c = step(c), d = step(d), e = step(e), f = step(f), g = step(g), h = step(h);          \
    i = step(i), j = step(j), k = step(k), l = step(l), m = step(m), o = step(o), p = step(p), q = step(q);          \
    PETS_KEEP_8(a, b, c, d, e, f, g, h);                                                                             \
    PETS_KEEP_8(i, j, k, l, m, o, p, q);                                                                             \
  }

#if defined(__x86_64__)
#define PETS_KEEP(value) "+v"(value)
#define PETS_STEP(x) _mm512_fmadd_ps(one, one, x)
__attribute__((target("avx512f"))) void steps_avx512() {
  const __m512 one = _mm512_set1_ps(1);
  PETS_FMA_LOOP_OF_32(__m512, one, PETS_STEP)
}
#undef PETS_STEP
#define PETS_STEP(x) _mm256_fmadd_ps(one, one, x)
__attribute__((target("avx2,fma"))) void steps_avx2() {
  const __m256 one = _mm256_set1_ps(1);
  PETS_FMA_LOOP(__m256, one, PETS_STEP)
}
#undef PETS_STEP
#define PETS_STEP(x) _mm_add_ps(_mm_mul_ps(x, one), one)
void steps_portable() {
  const __m128 one = _mm_set1_ps(1);
  PETS_FMA_LOOP(__m128, one, PETS_STEP)
}
#undef PETS_STEP
#elif defined(__aarch64__)
#define PETS_KEEP(value) "+w"(value)
#define PETS_STEP(x) vfmaq_f32(x, one, one)
void steps_neon() {
  const float32x4_t one = vdupq_n_f32(1);
  PETS_FMA_LOOP_OF_32(float32x4_t, one, PETS_STEP)
}
#undef PETS_STEP
void steps_portable() { steps_neon(); }
#else
#define PETS_KEEP(value) "+m"(value)
#define PETS_STEP(x) (x) * 1.0f + 1.0f
void steps_portable() { PETS_FMA_LOOP(float, 1.0f, PETS_STEP) }
#undef PETS_STEP
#endif

struct Loop {
  void (*run)();
  int lanes;
  int chains = kChains;
};

Loop loop_for(kernels::Isa isa) {
  switch (kernels::base_isa(isa)) {
#if defined(__x86_64__)
    case kernels::Isa::kAvx512:
      return {steps_avx512, 16, kChainsOf32};
    case kernels::Isa::kAvx2:
      return {steps_avx2, 8};
    default:
      return {steps_portable, 4};
#elif defined(__aarch64__)
    case kernels::Isa::kNeon:
      return {steps_neon, 4, kChainsOf32};
    default:
      return {steps_portable, 4, kChainsOf32};
#else
    default:
      return {steps_portable, 1};
#endif
  }
}

double measured_rate(Loop loop, double seconds, double (*now)()) {
  for (const double begin = now(); now() - begin < kWarmUpSeconds;) loop.run();
  const double start = now();
  double runs = 0, elapsed = 0;
  do {
    loop.run();
    ++runs;
    elapsed = now() - start;
  } while (elapsed < seconds);
  return runs * static_cast<double>(kSteps) * loop.chains * loop.lanes * 2 / elapsed * 1e-9;
}

/// The calling thread stays on the `index`th of its processors: left alone, a thread may start on its parent's and wait there for the
/// scheduler's next balance, 4 to 15 ms, a good part of what is measured.
class OnItsOwnProcessor {
 public:
  explicit OnItsOwnProcessor(unsigned index) {
    if (::sched_getaffinity(0, sizeof(allowed_), &allowed_) != 0) return;
    for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
      if (CPU_ISSET(processor, &allowed_) == 0 || index-- != 0) continue;
      cpu_set_t own;
      CPU_ZERO(&own);
      CPU_SET(processor, &own);
      changed_ = ::sched_setaffinity(0, sizeof(own), &own) == 0;
      return;
    }
  }
  ~OnItsOwnProcessor() {
    if (changed_) (void)::sched_setaffinity(0, sizeof(allowed_), &allowed_);
  }
  OnItsOwnProcessor(const OnItsOwnProcessor&) = delete;
  OnItsOwnProcessor& operator=(const OnItsOwnProcessor&) = delete;

 private:
  cpu_set_t allowed_{};
  bool changed_ = false;
};

}  // namespace

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

double clock_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double fma_peak_of_this_thread(kernels::Isa isa, double seconds) { return measured_rate(loop_for(isa), seconds, thread_seconds); }

double fma_peak_gflops(unsigned threads, kernels::Isa isa, double seconds) {
  return sum_over_threads(threads, [=] { return measured_rate(loop_for(isa), seconds, clock_seconds); });
}

double sum_over_threads(unsigned threads, const std::function<double()>& rate) {
  std::atomic<unsigned> waiting{threads};
  std::vector<double> rates(threads);
  const auto measure = [&](unsigned t) {
    const OnItsOwnProcessor here(t);
    waiting.fetch_sub(1);
    while (waiting.load() != 0) {
    }
    rates[t] = rate();
  };
  std::vector<std::thread> others;
  for (unsigned t = 1; t < threads; ++t) others.emplace_back(measure, t);
  measure(0);
  double sum = 0;
  for (std::thread& other : others) other.join();
  for (const double each : rates) sum += each;
  return sum;
}

}  // namespace pets::benchmarks
