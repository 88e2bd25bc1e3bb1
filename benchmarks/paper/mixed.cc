// Figure 7.
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>

#include "benchmarks/paper/workload.h"

namespace pets::benchmarks {

int run_paper_mixed(const PaperMixedOptions& options) {
  return paper::reported("paper-mixed", [&] {
    const paper::Loaded loaded(options, options.tasks);
    const uint32_t vocabulary = paper::shape_of(options.shape).vocabulary;
    std::mt19937_64 random(options.seed);
    paper::Asked asked;
    for (uint32_t task = 0; task < options.tasks; ++task) {
      for (uint32_t i = 0; i < options.queries; ++i) {
        asked.add(paper::task_name(options.kind, task), paper::random_ids(options.length, vocabulary, random));
      }
    }
    const std::span<const Query> all = asked.queries();
    SessionOptions session_options;
    session_options.threads = options.threads;
    session_options.max_batch_tokens = static_cast<uint32_t>(asked.tokens());
    session_options.max_batch_queries = static_cast<uint32_t>(all.size());
    const auto session = paper::value_of(Session::create(loaded.model(), session_options));
    const auto one_by_one = [&](uint32_t tasks) {
      double seconds = 0;
      for (uint32_t task = 0; task < tasks; ++task) {
        seconds += paper::seconds_of(*session, all.subspan(size_t{task} * options.queries, options.queries));
      }
      return seconds;
    };
    constexpr uint32_t kWarm = 8;  // tasks: brings the base into the caches and wakes the pool
    (void)one_by_one(std::min(kWarm, options.tasks));
    (void)paper::seconds_of(*session, all.first(std::min<size_t>(all.size(), size_t{kWarm} * options.queries)));
    nlohmann::json mixed = nlohmann::json::array(), calls = nlohmann::json::array();
    paper::rounds_within(options.rounds, options.seconds, [&](uint32_t round) {
      if (round % 2 == 0) mixed.push_back(paper::seconds_of(*session, all));
      calls.push_back(one_by_one(options.tasks));
      if (round % 2 != 0) mixed.push_back(paper::seconds_of(*session, all));
    });
    std::cout << nlohmann::json{{"isa", std::string(loaded.model()->isa())},
                                {"device", std::string(loaded.model()->device())},
                                {"threads", session->threads()},
                                {"shape", options.shape},
                                {"kind", options.kind},
                                {"tasks", options.tasks},
                                {"queries", options.queries},
                                {"length", options.length},
                                {"mixed", mixed},
                                {"calls", calls}}
                     .dump()
              << "\n";
  });
}

}  // namespace pets::benchmarks
