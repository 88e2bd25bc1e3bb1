// An application that answers with the tasks of a bundle and takes on new ones while it runs.
// usage: pets-embedded BASE.pets TASK TEXT [TASKS.pets NEW_TASK]
#include <pets/pets.h>

#include <cstdio>
#include <memory>
#include <vector>

namespace {

void print(const pets::Answer& answer) {
  if (!answer.status) {
    std::printf("  error: %s\n", answer.status.c_str());
    return;
  }
  std::printf("  %s:", answer.task->name.c_str());
  const bool probabilities = !answer.scores.empty();
  const std::span<const float> values = probabilities ? answer.scores : answer.logits;
  for (size_t i = 0; i < values.size() && i < 8; ++i) {
    std::printf(" %s=%.3f", i < answer.task->labels.size() ? answer.task->labels[i].c_str() : "value", static_cast<double>(values[i]));
  }
  std::printf("\n");
}

int fail(const pets::Status& status) {
  std::fprintf(stderr, "%s\n", status.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 6) return 2;
  // How much memory will this take? Known before anything is loaded, and bounded.
  const pets::SessionOptions options{.max_batch_tokens = 512};
  const auto plan = pets::plan(argv[1], {}, options);
  if (!plan) return fail(plan.status());
  std::printf("needs %llu KiB\n", static_cast<unsigned long long>(plan->total_bytes >> 10));

  auto model = pets::Model::load(argv[1], {.memory_limit = plan->total_bytes + (64u << 20)});
  if (!model) return fail(model.status());
  auto session = pets::Session::create(*model, options);
  if (!session) return fail(session.status());

  std::vector<pets::Query> queries{{.task = argv[2], .text = argv[3]}};
  if (pets::Status status = (*session)->run(queries, [](size_t, const pets::Answer& answer) { print(answer); }); !status)
    return fail(status);
  if (argc == 4) return 0;

  // A new task arrives over the air: from the next batch on it is there, mixed with the others. No restart, no copy of the encoder.
  if (pets::Status status = (*model)->add_tasks(argv[4]); !status) return fail(status);
  queries.push_back({.task = argv[5], .text = argv[3]});
  pets::Status status = (*session)->run(queries, [](size_t, const pets::Answer& answer) { print(answer); });
  return status ? 0 : fail(status);
}
