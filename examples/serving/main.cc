// A service inside an application: several threads ask many tasks, a server batches what they ask.
// usage: pets-serving BASE.pets TEXT [THREADS] [QUESTIONS]
#include <pets/pets.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

int fail(const pets::Status& status) {
  std::fprintf(stderr, "%s\n", status.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 5) return 2;
  const int threads = argc > 3 ? std::atoi(argv[3]) : 4, questions = argc > 4 ? std::atoi(argv[4]) : 50;
  auto model = pets::Model::load(argv[1]);
  if (!model) return fail(model.status());
  pets::ServerOptions options;
  options.max_queued = 256;                   // more than that waits: the producers are held back
  options.overflow = pets::Overflow::kBlock;  // or refuse, or shed what matters least
  options.metrics_tasks = 64;
  auto made = pets::Server::create(*model, options);
  if (!made) return fail(made.status());
  pets::Server& server = **made;

  // Each producer asks the tasks in turn. Text tasks only: question answering needs a context.
  std::vector<std::string_view> tasks;
  const auto infos = (*model)->tasks();
  for (const auto& info : infos) {
    if (info->head != pets::HeadType::kQuestionAnswering) tasks.push_back(info->name);
  }
  if (tasks.empty()) return fail(pets::Status::error(pets::ErrorCode::kNotFound, "%s: no task that takes one text", argv[1]));
  std::atomic<int> answered{0}, failed{0};
  std::vector<std::thread> producers;
  producers.reserve(static_cast<size_t>(std::max(threads, 0)));
  for (int p = 0; p < threads; ++p) {
    producers.emplace_back([&, p] {
      for (int i = 0; i < questions; ++i) {
        pets::SubmitOptions submit;
        submit.priority = p == 0 ? 1 : 0;  // the first producer's questions are worth more
        submit.deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        const pets::Query query{.task = tasks[static_cast<size_t>(p + i) % tasks.size()], .text = argv[2]};
        const auto id = server.submit(query, submit, [&](pets::QueryId, uint32_t, const pets::Answer& answer) {
          ++(answer.status ? answered : failed);  // on the server's thread: be quick
        });
        if (!id) ++failed;
      }
    });
  }
  for (std::thread& producer : producers) producer.join();

  // One text, every task at once: what the tasks do not change is computed once. A future where there is time to wait.
  std::atomic<size_t> labels{0};
  const auto fan_out = server.submit(
      tasks, pets::Query{.text = argv[2]}, {},
      [](void* count, pets::QueryId, uint32_t, const pets::Answer& answer) {
        if (answer.status) ++*static_cast<std::atomic<size_t>*>(count);
      },
      &labels);
  if (!fan_out) return fail(fan_out.status());
  const pets::OwnedAnswer answer = server.submit({.task = tasks.front(), .text = argv[2]}).get();
  if (!answer.status) return fail(answer.status);
  if (pets::Status status = server.stop(); !status) return fail(status);  // runs what waits, then ends

  const pets::MetricsSnapshot metrics = server.metrics();
  std::printf("%d answered, %d failed; all %zu tasks on one text: %zu answers\n", answered.load(), failed.load(), tasks.size(),
              labels.load());
  std::printf("%llu batches of %.1f queries; latency p50 %.1f ms, p99 %.1f ms\n", static_cast<unsigned long long>(metrics.batches),
              metrics.batch_queries.mean, metrics.latency.p50_seconds * 1e3, metrics.latency.p99_seconds * 1e3);
  return failed == 0 && labels == tasks.size() ? 0 : 1;
}
