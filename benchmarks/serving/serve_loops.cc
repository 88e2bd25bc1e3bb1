// How queries reach the server: at their own times, as many as are answered, or all at once.
#include <atomic>
#include <chrono>
#include <latch>
#include <semaphore>
#include <thread>

#include "benchmarks/serving/serve_world.h"

namespace pets::benchmarks {
namespace {

using Steady = std::chrono::steady_clock;

struct Run {
  double start = 0;
  std::vector<QueryEnd> ends;
};

/// What a callback needs to know of its query.
struct Ticket {
  Run* run = nullptr;
  size_t index = 0;
};

void note_end(void* context, QueryId, uint32_t, const Answer& answer) {
  const Ticket& ticket = *static_cast<Ticket*>(context);
  QueryEnd& end = ticket.run->ends[ticket.index];
  end.seconds = steady_seconds() - ticket.run->start;
  switch (answer.status.code()) {
    case ErrorCode::kOk:
      end.outcome = Outcome::kAnswered;
      break;
    case ErrorCode::kDeadlineExceeded:
      end.outcome = Outcome::kExpired;
      break;
    default:
      end.outcome = Outcome::kShed;
  }
}

}  // namespace

Figures run_open(Server& server, const ServeWorld& world, const Trace& trace, double& started) {
  Run run;
  run.ends.resize(trace.arrivals.size());
  std::vector<Ticket> tickets(trace.arrivals.size());
  const Steady::time_point start = Steady::now() + std::chrono::milliseconds(5);
  started = run.start = std::chrono::duration<double>(start.time_since_epoch()).count();
  std::thread generator([&] {
    for (size_t i = 0; i < trace.arrivals.size(); ++i) {
      const Arrival& arrival = trace.arrivals[i];
      const auto at = [&](double seconds) { return start + std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9)); };
      run.ends[i].arrival_seconds = arrival.seconds;
      tickets[i] = {&run, i};
      SubmitOptions submit;
      submit.priority = arrival.priority;
      if (arrival.deadline_seconds > 0) submit.deadline = at(arrival.seconds + arrival.deadline_seconds);
      const Query query = world.query(trace, i);
      std::this_thread::sleep_until(at(arrival.seconds));
      const auto id = server.submit(query, submit, note_end, &tickets[i]);
      if (id) continue;
      run.ends[i].seconds = steady_seconds() - run.start;
      run.ends[i].outcome = id.status().code() == ErrorCode::kDeadlineExceeded ? Outcome::kExpired : Outcome::kRefused;
    }
  });
  generator.join();
  (void)server.drain();
  return summarize(trace, run.ends, ServeWorld::batches_since(server, run.start));
}

double run_closed(Server& server, const ServeWorld& world, const Trace& trace, uint32_t producers, uint32_t outstanding) {
  std::atomic<size_t> next{0};
  const double start = steady_seconds();
  std::vector<std::thread> threads;
  for (uint32_t p = 0; p < producers; ++p) {
    threads.emplace_back([&] {
      std::counting_semaphore<> places(outstanding);
      for (;;) {
        places.acquire();
        const size_t i = next.fetch_add(1);
        if (i >= trace.arrivals.size()) {
          places.release();
          break;
        }
        const auto id = server.submit(
            world.query(trace, i), {},
            [](void* context, QueryId, uint32_t, const Answer&) { static_cast<std::counting_semaphore<>*>(context)->release(); }, &places);
        if (!id) places.release();
      }
      for (uint32_t i = 0; i < outstanding; ++i) places.acquire();  // the semaphore lives until its last answer
    });
  }
  for (std::thread& thread : threads) thread.join();
  return steady_seconds() - start;
}

double run_drain(Server& server, const ServeWorld& world, const Trace& trace) {
  // A query whose callback waits holds the worker until all the others are queued.
  std::latch queued(1);
  const auto hold = [](void* context, QueryId, uint32_t, const Answer&) { static_cast<std::latch*>(context)->wait(); };
  if (!server.submit(world.query(trace, 0), {}, hold, &queued)) return 0;
  std::atomic<double> last{0};
  const auto note = [](void* context, QueryId, uint32_t, const Answer&) {
    static_cast<std::atomic<double>*>(context)->store(steady_seconds(), std::memory_order_relaxed);
  };
  // Only when the plug has been taken: else it would be one of them.
  while (server.queued() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  for (size_t i = 0; i < trace.arrivals.size(); ++i) (void)server.submit(world.query(trace, i), {}, note, &last);
  const double start = steady_seconds();
  queued.count_down();
  (void)server.drain();
  return last - start;
}

}  // namespace pets::benchmarks
