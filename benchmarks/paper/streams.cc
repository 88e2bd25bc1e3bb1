// Figure 11 on a GPU: a mixed batch whose tasks' PET operators are launches of their own on 1 to 32 streams, as the paper schedules them,
// beside the grouped launches of this engine, one for all tasks.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "benchmarks/paper/workload.h"

namespace pets::benchmarks {
namespace {

/// One way to launch a batch's work.
struct StreamWay {
  std::string name;
  uint32_t streams = 0;
  bool graphs = false;
  std::unique_ptr<Session> session{};
  nlohmann::json mixed = nlohmann::json::array(), base = nlohmann::json::array();
};

std::vector<StreamWay> stream_ways() {
  std::vector<StreamWay> all;
  all.push_back({"grouped, graphs", 0, true});
  all.push_back({"grouped", 0, false});
  for (const uint32_t streams : {1U, 2U, 4U, 8U, 16U, 32U}) all.push_back({std::to_string(streams), streams, false});
  return all;
}

}  // namespace

int run_paper_streams(const PaperStreamsOptions& given) {
  PaperStreamsOptions options = given;
  options.backend = "cuda";
  return paper::reported("paper-streams", [&] {
    paper::check(backend_works(Backend::kCuda));
    const paper::Loaded loaded(options, options.tasks);
    paper::Asked mixed, base;
    paper::ask_random_tasks(options, options.queries, options.length, mixed, base);
    std::vector<StreamWay> measured = stream_ways();
    for (StreamWay& way : measured) {
      SessionOptions session_options;
      session_options.threads = options.threads;
      session_options.max_batch_tokens = static_cast<uint32_t>(mixed.tokens());
      session_options.max_batch_queries = options.queries;
      session_options.operator_streams = way.streams;
      session_options.device_graphs = way.graphs;
      way.session = paper::value_of(Session::create(loaded.model(), session_options));
      for (int warm_up = 0; warm_up < 3; ++warm_up) {
        (void)paper::seconds_of(*way.session, mixed.queries());
        (void)paper::seconds_of(*way.session, base.queries());
      }
    }
    std::vector<DeviceCounters> before;
    for (const StreamWay& way : measured) before.push_back(way.session->device_counters());
    paper::rounds_within(options.rounds, options.seconds, [&](uint32_t) {
      for (StreamWay& way : measured) {
        way.base.push_back(paper::seconds_of(*way.session, base.queries()));
        way.mixed.push_back(paper::seconds_of(*way.session, mixed.queries()));
      }
    });
    nlohmann::json result = {{"device", std::string(loaded.model()->device())},
                             {"shape", options.shape},
                             {"precision", options.precision},
                             {"kind", options.kind},
                             {"tasks", options.tasks},
                             {"queries", options.queries},
                             {"length", options.length},
                             {"streams", nlohmann::json::array()}};
    for (size_t i = 0; i < measured.size(); ++i) {
      const DeviceCounters after = measured[i].session->device_counters();
      const double host_seconds =
          (after.host_seconds - before[i].host_seconds) / static_cast<double>(std::max<uint64_t>(after.batches - before[i].batches, 1));
      result["streams"].push_back(
          {{"way", measured[i].name}, {"mixed", measured[i].mixed}, {"base", measured[i].base}, {"host_seconds", host_seconds}});
    }
    std::cout << result.dump() << "\n";
  });
}

}  // namespace pets::benchmarks
