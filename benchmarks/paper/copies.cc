// Figure 8.
#include <atomic>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "benchmarks/paper/workload.h"

#include "runtime/platform/processors.h"

namespace pets::benchmarks {
namespace {

/// Of the available memory at most this share is taken: a machine that swaps measures nothing.
constexpr double kShareOfMemory = 0.85;

/// One task's whole model and its queries.
struct Copy {
  std::shared_ptr<Model> model;
  std::unique_ptr<Session> session;
  paper::Asked asked;
};

SessionOptions session_for(const PaperCopiesOptions& options, uint32_t tasks, uint32_t threads) {
  SessionOptions session;
  session.threads = threads;
  session.max_batch_tokens = tasks * options.queries * options.length;
  session.max_batch_queries = tasks * options.queries;
  return session;
}

/// Calls work(copy) of every copy, `threads` at a time; the first error is thrown again.
template <typename Work>
void for_each_copy(std::vector<Copy>& copies, uint32_t threads, const Work& work) {
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::string failure;
  const auto take = [&] {
    for (size_t i; (i = next++) < copies.size();) {
      try {
        work(copies[i]);
      } catch (const std::exception& error) {
        const std::scoped_lock lock(mutex);
        if (failure.empty()) failure = error.what();
      }
    }
  };
  {
    std::vector<std::jthread> others;
    for (uint32_t i = 1; i < std::min<size_t>(threads, copies.size()); ++i) others.emplace_back(take);
    take();
  }
  if (!failure.empty()) throw std::runtime_error(failure);
}

/// All tasks' queries once, `threads` tasks at a time, each by one thread.
double parallel_seconds(std::vector<Copy>& copies, uint32_t threads) {
  const auto start = paper::Clock::now();
  for_each_copy(copies, threads, [](Copy& copy) { (void)paper::seconds_of(*copy.session, copy.asked.queries()); });
  return paper::since(start);
}

}  // namespace

int run_paper_copies(const PaperCopiesOptions& options) {
  return paper::reported("paper-copies", [&] {
    if (options.bundles.empty()) throw std::runtime_error("needs --bundles: its memory shall not hold the making of them");
    const uint64_t before = paper::process_bytes("VmRSS");
    const uint32_t vocabulary = paper::shape_of(options.shape).vocabulary;
    std::mt19937_64 random(options.seed);
    nlohmann::json result = {{"way", options.way},     {"shape", options.shape},     {"kind", options.kind},
                             {"tasks", options.tasks}, {"queries", options.queries}, {"length", options.length}};
    nlohmann::json seconds = nlohmann::json::array();
    const auto measure = [&](const auto& run) {
      (void)run();  // warms
      paper::rounds_within(options.rounds, options.seconds, [&](uint32_t) { seconds.push_back(run()); });
    };
    std::vector<Copy> copies;
    if (options.way == "shared") {
      const paper::Loaded loaded(options, options.tasks);
      paper::Asked asked;
      for (uint32_t i = 0; i < options.tasks * options.queries; ++i) {
        asked.add(paper::task_name(options.kind, i / options.queries), paper::random_ids(options.length, vocabulary, random));
      }
      const auto session = paper::value_of(Session::create(loaded.model(), session_for(options, options.tasks, options.threads)));
      const std::span<const Query> all = asked.queries();
      measure([&] { return paper::seconds_of(*session, all); });
      result["isa"] = std::string(loaded.model()->isa());
      result["device"] = std::string(loaded.model()->device());
      result["device_bytes"] = loaded.model()->memory().device_bytes;
      result["threads"] = session->threads();
      result["resident"] = paper::process_bytes("VmRSS") - before;
    } else {
      const std::string path = paper::full_path(options.bundles);
      ModelOptions model_options = paper::model_options(options);
      const bool on_cpu = model_options.backend == Backend::kCpu;
      model_options.copy = on_cpu;  // a device has its own
      const uint32_t threads = options.way == "parallel" ? 1 : options.threads;
      const uint64_t needed =
          on_cpu ? options.tasks * paper::value_of(plan(path.c_str(), model_options, session_for(options, 1, threads))).total_bytes : 0;
      if (static_cast<double>(needed) > kShareOfMemory * static_cast<double>(paper::available_bytes())) {
        result["absent"] = fmt::format("needs {:.1f} GB", static_cast<double>(needed) / 1e9);
        std::cout << result.dump() << "\n";
        return;
      }
      copies = std::vector<Copy>(options.tasks);
      // One pool for all: the workers of another copy's pool would still spin for the next region when this copy runs.
      SessionOptions session_options = session_for(options, 1, threads);
      const auto pool = paper::value_of(ThreadPool::create(threads));
      if (options.way != "parallel") session_options.pool = pool.get();
      const uint32_t workers = options.threads != 0 ? options.threads : usable_processors();
      // Weights for a device are converted by the thread that loads them: a second a copy.
      for_each_copy(copies, on_cpu ? 1 : workers, [&](Copy& copy) {
        copy.model = paper::value_of(Model::load(path.c_str(), model_options));
        copy.session = paper::value_of(Session::create(copy.model, session_options));
      });
      for (Copy& copy : copies) {
        for (uint32_t i = 0; i < options.queries; ++i) copy.asked.add("base", paper::random_ids(options.length, vocabulary, random));
      }
      if (options.way == "parallel") {
        measure([&] { return parallel_seconds(copies, workers); });
      } else {
        measure([&] {
          double sum = 0;
          for (Copy& copy : copies) sum += paper::seconds_of(*copy.session, copy.asked.queries());
          return sum;
        });
      }
      result["isa"] = std::string(copies[0].model->isa());
      result["device"] = std::string(copies[0].model->device());
      uint64_t on_device = 0;
      for (const Copy& copy : copies) on_device += copy.model->memory().device_bytes;
      result["device_bytes"] = on_device;
      result["threads"] = options.way == "parallel" ? workers : copies[0].session->threads();
      result["resident"] = paper::process_bytes("VmRSS") - before;
      copies.clear();  // before the pool
    }
    result["seconds"] = seconds;
    std::cout << result.dump() << "\n";
  });
}

}  // namespace pets::benchmarks
