#include "benchmarks/serving/simulator.h"

#include <algorithm>
#include <cmath>
#include <deque>

#include "benchmarks/serving/random.h"

#include "runtime/serving/query_queue.h"

namespace pets::benchmarks {
namespace {

using serving::Item;
using serving::kNoDeadline;
using serving::Nanoseconds;
using serving::QueryQueue;
using serving::TaskCost;

constexpr double kNanoseconds = 1e9;

Nanoseconds to_nanoseconds(double seconds) { return static_cast<Nanoseconds>(std::min(seconds * kNanoseconds, 9e18)); }

class Simulator {
 public:
  Simulator(const Trace& trace, std::span<const serving::TaskWork> works, const serving::CostModel& planner, const DeviceModel& device,
            const SimulationOptions& options)
      : trace_(trace),
        device_(device),
        options_(options),
        random_(device.seed),
        scheduler_(options.strategy, with_items(options), planner),
        query_of_slot_(options.max_queued),
        pages_(QueryQueue::pages_for(options.max_queued_tokens != 0 ? options.max_queued_tokens : 64 * options.max_queued)),
        free_pages_(pages_) {
    for (uint32_t slot = options.max_queued; slot > 0; --slot) free_slots_.push_back(slot - 1);
    for (const serving::TaskWork& work : works) {
      planned_cost_.push_back(planner.task_cost(work));
      true_cost_.push_back(device.costs.task_cost(work));
    }
    result_.ends.resize(trace.arrivals.size());
  }

  Simulation run() {
    if (options_.outstanding != 0) {
      for (uint32_t i = 0; i < options_.outstanding; ++i) arrive_next(0);
    }
    for (;;) {
      admit_until(now_);
      if (scheduler_.waiting().empty()) {
        if (options_.outstanding != 0 || next_ == trace_.arrivals.size()) break;
        now_ = std::max(now_, to_nanoseconds(trace_.arrivals[next_].seconds));
        slept_ = true;
        continue;
      }
      expire();
      serving::Scheduler::Batch batch;
      if (scheduler_.next(now_, batch)) run_batch(batch);
    }
    BatchSums sums;
    for (const SimulatedBatch& batch : result_.batches) {
      ++sums.batches;
      sums.queries += batch.queries;
      sums.rows += batch.rows;
      sums.padded_rows += batch.padded_rows;
      sums.busy_seconds += batch.end_seconds - batch.start_seconds;
    }
    result_.figures = summarize(trace_, result_.ends, sums);
    return std::move(result_);
  }

 private:
  static serving::BatchingOptions with_items(const SimulationOptions& options) {
    serving::BatchingOptions batching = options.batching;
    batching.items = options.max_queued;
    return batching;
  }

  void end(uint32_t query, Outcome outcome, Nanoseconds time) {
    QueryEnd& end = result_.ends[query];
    end.outcome = outcome;
    end.seconds = static_cast<double>(time) / kNanoseconds;
    if (options_.outstanding != 0) arrive_next(time);
  }

  /// Closed loop: the next query arrives.
  void arrive_next(Nanoseconds time) {
    if (next_ == trace_.arrivals.size()) return;
    arrive(next_++, time);
  }

  /// Open loop: what arrives until then. The order of arrivals decides who finds room.
  void admit_until(Nanoseconds time) {
    if (options_.outstanding != 0) return;
    while (next_ < trace_.arrivals.size() && to_nanoseconds(trace_.arrivals[next_].seconds) <= time) {
      const uint32_t query = next_++;
      arrive(query, to_nanoseconds(trace_.arrivals[query].seconds));
    }
  }

  bool has_room(uint32_t query) const {
    return !free_slots_.empty() && free_pages_ >= QueryQueue::pages_for(trace_.arrivals[query].tokens);
  }

  void arrive(uint32_t query, Nanoseconds time) {
    result_.ends[query].arrival_seconds = static_cast<double>(time) / kNanoseconds;
    const uint32_t tokens = trace_.arrivals[query].tokens;
    if (tokens > options_.batching.limits.rows || QueryQueue::pages_for(tokens) > pages_) return end(query, Outcome::kRefused, time);
    if (options_.overflow == Overflow::kBlock) {
      blocked_.push_back({query, time});
      unblock(time);
      return;
    }
    while (!has_room(query)) {
      if (options_.overflow == Overflow::kFail || !shed(trace_.arrivals[query].priority, time)) return end(query, Outcome::kRefused, time);
    }
    enter(query, time);
  }

  bool shed(int32_t priority, Nanoseconds time) {
    const Item* lowest = nullptr;
    for (const Item& item : scheduler_.waiting()) {
      if (item.priority >= priority) continue;
      if (lowest == nullptr || item.priority < lowest->priority || (item.priority == lowest->priority && item.arrival > lowest->arrival)) {
        lowest = &item;
      }
    }
    if (lowest == nullptr) return false;
    drop(lowest->slot, Outcome::kShed, time);
    return true;
  }

  /// Those that found no room enter in order of arrival, as far as there is room now.
  void unblock(Nanoseconds time) {
    while (!blocked_.empty()) {
      const auto [query, arrival] = blocked_.front();
      const double deadline = trace_.arrivals[query].deadline_seconds;
      if (deadline > 0 && arrival + to_nanoseconds(deadline) <= time) {
        blocked_.pop_front();
        end(query, Outcome::kExpired, arrival + to_nanoseconds(deadline));
        continue;
      }
      if (!has_room(query)) return;
      blocked_.pop_front();
      enter(query, arrival);
    }
  }

  void enter(uint32_t query, Nanoseconds arrival) {
    const Arrival& from = trace_.arrivals[query];
    Item item;
    item.slot = free_slots_.back();
    free_slots_.pop_back();
    free_pages_ -= QueryQueue::pages_for(from.tokens);
    query_of_slot_[item.slot] = query;
    item.task = from.task;
    item.length = item.rows = from.tokens;
    item.cost = planned_cost_[from.task];
    item.priority = from.priority;
    item.arrival = arrival;
    if (from.deadline_seconds > 0) item.deadline = arrival + to_nanoseconds(from.deadline_seconds);
    scheduler_.add(item);
  }

  void give_pages_back(uint32_t query) { free_pages_ += QueryQueue::pages_for(trace_.arrivals[query].tokens); }

  /// A waiting query ends without running.
  void drop(uint32_t slot, Outcome outcome, Nanoseconds time) {
    scheduler_.remove(slot);
    give_pages_back(query_of_slot_[slot]);
    free_slots_.push_back(slot);
    end(query_of_slot_[slot], outcome, time);
  }

  void expire() {
    for (size_t i = 0; i < scheduler_.waiting().size();) {
      const Item& item = scheduler_.waiting()[i];
      if (item.deadline > now_) {
        ++i;
        continue;
      }
      drop(item.slot, Outcome::kExpired, now_);
      i = 0;
    }
    unblock(now_);
  }

  /// What the device takes: the sum that the scheduler makes, with the device's own model and costs of tasks.
  double device_seconds(const serving::Scheduler::Batch& batch) {
    serving::BatchSum sum(batch.padded_length);
    for (const uint32_t slot : batch.slots) {
      const Arrival& from = trace_.arrivals[query_of_slot_[slot]];
      Item item;
      item.task = from.task;
      item.length = item.rows = from.tokens;
      item.cost = true_cost_[from.task];
      sum.add(item);
    }
    const double seconds = sum.seconds(device_.costs);
    if (!device_.slowdowns.empty()) {
      const double time = static_cast<double>(now_) / kNanoseconds;
      const auto after = std::upper_bound(device_.slowdowns.begin(), device_.slowdowns.end(), time,
                                          [](double t, const DeviceModel::Slowdown& slowdown) { return t < slowdown.seconds; });
      return seconds * (after == device_.slowdowns.begin() ? after : after - 1)->factor;
    }
    return device_.noise.empty() ? seconds : seconds * device_.noise[random_.below(device_.noise.size())];
  }

  void run_batch(const serving::Scheduler::Batch& batch) {
    const std::vector<uint32_t> slots(batch.slots.begin(), batch.slots.end());  // who arrives or ends changes the scheduler's
    const double seconds = device_seconds(batch);
    const double overhead = options_.batch_overhead_seconds + options_.query_overhead_seconds * static_cast<double>(slots.size()) +
                            (slept_ ? options_.wake_seconds : 0);
    slept_ = false;
    const Nanoseconds start = now_, finish = start + std::max<Nanoseconds>(to_nanoseconds(seconds + overhead), 1);
    for (const uint32_t slot : slots) give_pages_back(query_of_slot_[slot]);
    unblock(start);
    admit_until(finish);
    result_.batches.push_back({static_cast<double>(start) / kNanoseconds, static_cast<double>(finish) / kNanoseconds,
                               static_cast<uint32_t>(slots.size()), batch.rows, batch.rows - std::min(batch.own_rows, batch.rows)});
    scheduler_.finished(batch, seconds);
    now_ = finish;
    for (const uint32_t slot : slots) {
      const uint32_t query = query_of_slot_[slot];
      free_slots_.push_back(slot);
      end(query, Outcome::kAnswered, finish);
    }
    unblock(finish);
  }

  const Trace& trace_;
  const DeviceModel& device_;
  const SimulationOptions& options_;
  Random random_;
  serving::Scheduler scheduler_;
  std::vector<TaskCost> planned_cost_, true_cost_;  // by task
  std::vector<uint32_t> query_of_slot_, free_slots_;
  const uint32_t pages_;
  uint32_t free_pages_;
  struct Blocked {
    uint32_t query;
    Nanoseconds arrival;
  };
  std::deque<Blocked> blocked_;
  uint32_t next_ = 0;  // arrival
  Nanoseconds now_ = 0;
  bool slept_ = false;  // nothing waited before this batch
  Simulation result_;
};

}  // namespace

std::vector<double> log_normal_noise(double sigma) {
  Random random(0);
  std::vector<double> factors;
  while (factors.size() < 1024) {
    const double z = sigma * random.normal();
    factors.push_back(portable_exp(z));
    factors.push_back(portable_exp(-z));  // in pairs: the median is 1
  }
  return factors;
}

Simulation simulate(const Trace& trace, std::span<const serving::TaskWork> task_works, const serving::CostModel& planner,
                    const DeviceModel& device, const SimulationOptions& options) {
  return Simulator(trace, task_works, planner, device, options).run();
}

}  // namespace pets::benchmarks
