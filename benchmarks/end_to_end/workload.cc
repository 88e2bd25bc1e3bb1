#include <fmt/core.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "benchmarks/end_to_end/experiments.h"
#include "benchmarks/kernels/bandwidth_peak.h"
#include "benchmarks/kernels/dot_peak.h"
#include "benchmarks/kernels/fma_peak.h"

#include "pets/pets.h"

namespace pets::benchmarks {
namespace {

using nlohmann::json;

/// Queries as a file describes them; `queries` points into the other two.
struct Workload {
  std::vector<std::string> tasks;
  std::vector<std::vector<int32_t>> ids;
  std::vector<Query> queries;
  size_t tokens = 0;
};

/// Throws what nlohmann throws, or std::runtime_error.
std::map<std::string, Workload> read_workloads(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be opened");
  std::map<std::string, Workload> workloads;
  const json parsed = json::parse(file);
  for (const auto& [name, entry] : parsed.items()) {
    Workload& workload = workloads[name];
    entry.at("tasks").get_to(workload.tasks);
    entry.at("ids").get_to(workload.ids);
    if (workload.tasks.size() != workload.ids.size()) {
      throw std::runtime_error(
          fmt::format("{}: workload {}: {} tasks, expected one a query: {}", path, name, workload.tasks.size(), workload.ids.size()));
    }
    for (size_t i = 0; i < workload.ids.size(); ++i) {
      Query query;
      query.task = workload.tasks[i];
      query.ids = workload.ids[i];
      query.has_ids = true;
      workload.queries.push_back(query);
      workload.tokens += workload.ids[i].size();
    }
  }
  return workloads;
}

/// Runs a workload; the first query that failed is an error.
void run_workload(Session& session, const Workload& workload, std::vector<std::vector<float>>* logits) {
  std::string failure;
  if (logits != nullptr) logits->resize(workload.queries.size());
  const Status status = session.run(workload.queries, [&](size_t index, const Answer& answer) {
    if (!answer.status && failure.empty()) failure = fmt::format("query {}: {}", index, answer.status.c_str());
    if (logits != nullptr) (*logits)[index].assign(answer.logits.begin(), answer.logits.end());
  });
  if (!status) throw std::runtime_error(status.c_str());
  if (!failure.empty()) throw std::runtime_error(failure);
}

/// Bytes of this process by kind, as the kernel counts them: VmRSS, RssAnon, RssFile.
json resident_bytes() {
  json bytes;
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string key;
    uint64_t kib = 0;
    if (fields >> key >> kib && (key == "VmRSS:" || key == "RssAnon:" || key == "RssFile:")) {
      key.pop_back();
      bytes[key] = kib * 1024;
    }
  }
  return bytes;
}

/// What this machine gives at most with the instruction set in use; 0 where that has no dot products of a type.
json peaks(kernels::Isa isa, unsigned threads) {
  return {{"fma_gflops", fma_peak_gflops(threads, isa)},
          {"int8_gops", dot_peak_gops(threads, isa, kernels::WeightType::kInt8)},
          {"bf16_gops", dot_peak_gops(threads, isa, kernels::WeightType::kBFloat16)},
          {"read_gbs", read_bandwidth_gbs(threads)}};
}

json answer_command(const std::string& line, kernels::Isa isa, Session& session, const std::map<std::string, Workload>& workloads) {
  std::istringstream words(line);
  std::string command, name;
  words >> command >> name;
  if (command == "peaks") return peaks(isa, session.threads());
  if (command == "memory") return resident_bytes();
  const auto found = workloads.find(name);
  if (found == workloads.end()) throw std::runtime_error(fmt::format("no workload is called '{}'", name));
  if (command == "logits") {
    std::vector<std::vector<float>> logits;
    run_workload(session, found->second, &logits);
    return {{"logits", logits}};
  }
  if (command != "run") throw std::runtime_error(fmt::format("expected run, logits, peaks or memory, found '{}'", command));
  size_t times = 1;
  words >> times;
  std::vector<double> seconds;
  for (size_t i = 0; i < times; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run_workload(session, found->second, nullptr);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return {{"seconds", seconds}};
}

void say(const json& reply) { std::cout << reply.dump() << std::endl; }

int serve(const WorkloadOptions& options) {
  const auto workloads = read_workloads(options.workloads);
  SessionOptions session_options;
  session_options.threads = options.threads;
  session_options.max_batch_tokens = options.max_batch_tokens;
  session_options.max_batch_queries = options.max_batch_queries;
  session_options.any_order = true;
  auto model = Model::load(options.bundle.c_str());
  if (!model) throw std::runtime_error(model.status().c_str());
  auto session = Session::create(*model, session_options);
  if (!session) throw std::runtime_error(session.status().c_str());
  const kernels::Isa isa = kernels::parse_isa((*model)->isa()).value_or(kernels::Isa::kPortable);
  const Plan memory = (*model)->memory();
  say({{"isa", std::string((*model)->isa())},
       {"threads", (*session)->threads()},
       {"tasks", (*model)->tasks().size()},
       {"mapped_bytes", memory.mapped_bytes},
       {"model_bytes", memory.model_bytes},
       {"arena_bytes", (*session)->arena_bytes()}});
  for (std::string line; std::getline(std::cin, line);) {
    try {
      say(answer_command(line, isa, **session, workloads));
    } catch (const std::exception& error) {
      say({{"error", error.what()}});
    }
  }
  return 0;
}

}  // namespace

int run_workloads(const WorkloadOptions& options) {
  try {
    return serve(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "pets-bench workload: {}\n", error.what());
    return 1;
  }
}

}  // namespace pets::benchmarks
