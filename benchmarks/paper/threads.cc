// Beside figure 11. The paper launches each task's PET operators on streams of their own and schedules those; this engine applies them
// within the shared product, in one parallel region, so there are no launches to schedule. What can be asked is how one mixed batch and the
// same rows without PET operators go with threads: the difference is all that a schedule of PET operators could win.
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "benchmarks/paper/workload.h"

#include "runtime/platform/processors.h"

namespace pets::benchmarks {

int run_paper_threads(const PaperThreadsOptions& options) {
  return paper::reported("paper-threads", [&] {
    const paper::Loaded loaded(options, options.tasks);
    paper::Asked mixed, base;
    paper::ask_random_tasks(options, options.queries, options.length, mixed, base);
    struct Point {
      uint32_t threads = 0;
      std::unique_ptr<Session> session;
      nlohmann::json mixed = nlohmann::json::array(), base = nlohmann::json::array();
    };
    const uint32_t most = options.threads != 0 ? options.threads : usable_processors();
    std::set<uint32_t> counts = {most};
    for (uint32_t count = 1; count < most; count *= 2) counts.insert(count);
    std::vector<Point> points;
    for (const uint32_t count : counts) {
      SessionOptions session_options;
      session_options.threads = count;
      session_options.max_batch_tokens = static_cast<uint32_t>(mixed.tokens());
      session_options.max_batch_queries = options.queries;
      points.push_back({count, paper::value_of(Session::create(loaded.model(), session_options))});
    }
    (void)paper::seconds_of(*points.back().session, mixed.queries());
    paper::rounds_within(options.rounds, options.seconds, [&](uint32_t) {
      for (Point& point : points) {
        point.base.push_back(paper::seconds_of(*point.session, base.queries()));
        point.mixed.push_back(paper::seconds_of(*point.session, mixed.queries()));
      }
    });
    nlohmann::json result = {{"isa", std::string(loaded.model()->isa())},
                             {"shape", options.shape},
                             {"kind", options.kind},
                             {"tasks", options.tasks},
                             {"queries", options.queries},
                             {"length", options.length},
                             {"points", nlohmann::json::array()}};
    for (const Point& point : points) {
      result["points"].push_back({{"threads", point.threads}, {"mixed", point.mixed}, {"base", point.base}});
    }
    std::cout << result.dump() << "\n";
  });
}

}  // namespace pets::benchmarks
