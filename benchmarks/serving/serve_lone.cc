// One query at a time: what the way through the server adds to a direct call.
#include <fmt/core.h>

#include <chrono>
#include <thread>

#include "benchmarks/median.h"
#include "benchmarks/serving/serve_world.h"

namespace pets::benchmarks {
namespace {

/// From submit to the callback.
double ask(Server& server, const Query& query) {
  const double start = steady_seconds();
  double end = start;
  const auto id = server.submit(query, {}, [&](QueryId, uint32_t, const Answer&) { end = steady_seconds(); });
  (void)server.drain();
  return id ? end - start : 0;
}

double call(Session& session, const Query& query) {
  const double start = steady_seconds();
  (void)session.run({&query, 1}, [](size_t, const Answer&) {});
  return steady_seconds() - start;
}

}  // namespace

void report_lone(ServeWorld& world) {
  struct Pause {
    std::chrono::milliseconds length;
    uint32_t queries;
  };
  constexpr uint32_t kQueries = 300;
  constexpr Pause kPauses[] = {
      {std::chrono::milliseconds(0), kQueries}, {std::chrono::milliseconds(5), kQueries}, {std::chrono::milliseconds(100), kQueries / 10}};
  Server& server = world.server(world.strategies()[0]);
  fmt::print(
      "\nOne query at a time, {} of each length (a tenth after the longest pause), a direct call and one through the server by turns, so "
      "many milliseconds before each: "
      "medians of the time until the answer, and of the difference of neighbours.\n\n"
      "| tokens | pause ms | direct ms | through the server ms | difference us |\n|---|---|---|---|---|\n",
      kQueries);
  for (const double tokens : {8.0, 32.0, 128.0}) {
    TraceOptions made = world.trace_options(world.options().seed * 1000 + 900'000);
    made.process = Process::kAtOnce;
    made.queries = kQueries;
    made.length = tokens;
    made.sigma = 0;
    const Trace trace = make_trace(made);
    for (const Pause& pause : kPauses) {
      std::vector<double> direct, served, difference;
      for (size_t i = 0; i < pause.queries; ++i) {
        const Query query = world.query(trace, i);
        if (i < 8) (void)call(world.session(), query);  // pages
        std::this_thread::sleep_for(pause.length);
        direct.push_back(call(world.session(), query));
        std::this_thread::sleep_for(pause.length);
        served.push_back(ask(server, query));
        difference.push_back(served.back() - direct.back());
      }
      fmt::print("| {:.0f} | {} | {:.3f} | {:.3f} | {:.0f} |\n", tokens, pause.length.count(), median(direct) * 1e3, median(served) * 1e3,
                 median(difference) * 1e6);
    }
  }
}

}  // namespace pets::benchmarks
