#include "benchmarks/serving/traces.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "benchmarks/serving/random.h"

namespace pets::benchmarks {
namespace {

/// Gaps between arrivals.
class Gaps {
 public:
  Gaps(const TraceOptions& options, uint64_t seed) : process_(options.process), random_(seed) {
    const Bursts& bursts = options.bursts;
    rate_[0] = rate_[1] = options.rate;
    if (process_ != Process::kBursty) return;
    rate_[1] = options.rate * bursts.ratio;
    rate_[0] = options.rate * std::max(1 - bursts.ratio * bursts.on_share, 0.0) / (1 - bursts.on_share);
    mean_seconds_[1] = bursts.on_seconds;
    mean_seconds_[0] = bursts.on_seconds * (1 - bursts.on_share) / bursts.on_share;
    on_ = random_.uniform() < bursts.on_share;
    left_ = mean_seconds_[on_] * random_.exponential();
  }

  double next() {
    if (process_ == Process::kAtOnce) return 0;
    if (process_ == Process::kUniform) return 1 / rate_[0];
    if (process_ == Process::kPoisson) return random_.exponential() / rate_[0];
    // An exponential of mean 1 is used up at the rate of each state in turn.
    double unused = random_.exponential(), gap = 0;
    while (unused >= left_ * rate_[on_]) {
      unused -= left_ * rate_[on_];
      gap += left_;
      on_ = !on_;
      left_ = mean_seconds_[on_] * random_.exponential();
    }
    left_ -= unused / rate_[on_];
    return gap + unused / rate_[on_];
  }

 private:
  Process process_;
  Random random_;
  double rate_[2] = {}, mean_seconds_[2] = {};  // off, on
  bool on_ = false;
  double left_ = 0;  // of the state, in seconds
};

}  // namespace

uint64_t Trace::tokens() const {
  uint64_t sum = 0;
  for (const Arrival& arrival : arrivals) sum += arrival.tokens;
  return sum;
}

Trace make_trace(const TraceOptions& options) {
  Trace trace;
  trace.tasks = options.tasks;
  // Independent streams of one seed.
  Random seeds(options.seed);
  Gaps gaps(options, seeds.next());
  Random task_random(seeds.next()), length_random(seeds.next());
  const Zipf zipf(options.tasks, options.zipf);
  std::vector<uint32_t> task_of_rank(options.tasks);
  std::iota(task_of_rank.begin(), task_of_rank.end(), 0U);
  for (uint32_t i = options.tasks; i > 1; --i) std::swap(task_of_rank[i - 1], task_of_rank[task_random.below(i)]);
  double time = 0;
  for (;;) {
    time += gaps.next();
    if (options.queries != 0 ? trace.arrivals.size() == options.queries : time >= options.seconds) return trace;
    Arrival arrival;
    arrival.seconds = time;
    arrival.task = task_of_rank[zipf.draw(task_random)];
    const double length = std::floor(options.length + options.sigma * length_random.normal() + 0.5);
    arrival.tokens =
        static_cast<uint32_t>(std::clamp(length, static_cast<double>(options.min_length), static_cast<double>(options.max_length)));
    arrival.deadline_seconds = options.deadline_seconds;
    trace.arrivals.push_back(arrival);
  }
}

}  // namespace pets::benchmarks
