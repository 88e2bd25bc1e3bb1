#include "benchmarks/kernels/cuda/measure.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <memory>
#include <thread>

#include "benchmarks/median.h"

namespace pets::benchmarks::gpu {
namespace {

constexpr uint32_t kMostLaunches = 400;  // that wait behind the gate: a stream takes about 1,000 before a launch blocks
/// A call that waits for the device itself must not wait for ever: the gate opens by itself, and the sample is only less exact.
constexpr auto kGateSeconds = std::chrono::milliseconds(100);

/// Holds a stream back until it is opened.
class Gate {
 public:
  explicit Gate(cudaStream_t stream) {
    auto* const state =
        new std::shared_ptr<State>(state_);  // the host function's own; lost where an error of the device keeps it from being called
    if (const cudaError_t error = cudaLaunchHostFunc(stream, wait, state); error != cudaSuccess) {
      delete state;
      check(error, "a gate");
    }
  }
  ~Gate() { open(); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  void open() { state_->open = true; }

 private:
  struct State {
    std::atomic<bool> open{false};
  };
  static void wait(void* argument) {
    const std::unique_ptr<std::shared_ptr<State>> state(static_cast<std::shared_ptr<State>*>(argument));
    const auto end = std::chrono::steady_clock::now() + kGateSeconds;
    while (!(*state)->open && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  }
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

class Event {
 public:
  Event() { check(cudaEventCreate(&event_), "an event"); }
  ~Event() { (void)cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Of one call, where `calls` are queued together from number `first` on.
double sample(Gpu& gpu, const Way& way, uint32_t first, uint32_t calls) {
  const Event begin, end;
  {
    Gate gate(gpu.stream);
    check(cudaEventRecord(begin.get(), gpu.stream), "an event");
    for (uint32_t n = 0; n < calls; ++n) way.queue(first + n);
    check(cudaEventRecord(end.get(), gpu.stream), "an event");
    gate.open();
    check(cudaStreamSynchronize(gpu.stream), "the work on the device");
  }
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()), "the time between two events");
  return static_cast<double>(milliseconds) * 1e-3 / calls;
}

uint32_t calls_of(const Gpu& gpu, const Way& way, double seconds) {
  const double most = std::max(1.0, static_cast<double>(kMostLaunches) / way.launches);
  return static_cast<uint32_t>(std::clamp(gpu.sample_seconds / std::max(seconds, 1e-7), 1.0, most));
}

}  // namespace

void measure(Gpu& gpu, std::vector<Way*> ways) {
  std::erase_if(ways, [](const Way* way) { return !way->queue; });
  std::vector<uint32_t> calls;
  for (Way* way : ways) {
    (void)sample(gpu, *way, 0, 1);  // the first loads code and chooses algorithms
    calls.push_back(calls_of(gpu, *way, sample(gpu, *way, 1, 2)));
  }
  std::vector<std::vector<double>> seconds(ways.size());
  std::vector<uint32_t> next(ways.size());
  for (uint32_t round = 0; round < gpu.rounds; ++round) {
    for (size_t w = 0; w < ways.size(); ++w) {
      seconds[w].push_back(sample(gpu, *ways[w], next[w], calls[w]));
      next[w] += calls[w];
    }
  }
  for (size_t w = 0; w < ways.size(); ++w) ways[w]->seconds = median(seconds[w]);
}

void recover(const Gpu& gpu) {
  (void)cudaGetLastError();
  check(cudaStreamSynchronize(gpu.stream), "the device after a refusal");
}

double short_sample(Gpu& gpu, const Way& way) {
  constexpr uint32_t kCalls = 5;
  (void)sample(gpu, way, 0, 1);
  return std::min(sample(gpu, way, 1, kCalls), sample(gpu, way, kCalls + 1, kCalls));
}

double difference(const std::vector<Half>& found, const std::vector<Half>& expected) {
  double differences = 0, squares = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double x = as_float(expected[i]), d = as_float(found[i]) - x;
    differences += d * d;
    squares += x * x;
  }
  return std::sqrt(differences / std::max(squares, 1e-30));
}

void print_row(const std::vector<std::string>& cells) {
  for (const std::string& cell : cells) std::printf("| %s ", cell.c_str());
  std::printf("|\n");
  std::fflush(stdout);
}

void print_header(const std::vector<std::string>& cells) {
  print_row(cells);
  for (size_t i = 0; i < cells.size(); ++i) std::printf("|---");
  std::printf("|\n");
}

std::string us(double seconds) {
  if (seconds == 0) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", seconds * 1e6);
  return text;
}

std::string times(double ratio) {
  if (!std::isfinite(ratio) || ratio == 0) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", ratio);
  return text;
}

std::string small(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0e", value);
  return text;
}

}  // namespace pets::benchmarks::gpu
