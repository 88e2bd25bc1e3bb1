#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "benchmarks/end_to_end/experiments.h"

#include "pets/pets.h"

namespace pets::benchmarks {
namespace {

using testing_util::PetKind;

/// Runs that are timed together last at least this long.
constexpr double kSampleSeconds = 0.03;

/// Tasks of one kind on `texts` texts of one length.
struct FanOutCase {
  const char* label = "";
  std::string prefix;        // of the tasks' names
  uint32_t first_layer = 0;  // that the tasks change
  uint32_t length = 0, texts = 0;
  std::vector<Query> one, sharing, separate;
  uint32_t repeats = 1;
  std::vector<double> seconds, to_one, to_separate;
};

/// Multiply-adds of layers [from, end) for a classifier's query of n tokens: in the last layer, keys and values are computed of all tokens,
/// the rest of the first one.
double layer_flops(const testing_util::ModelShape& shape, uint32_t from, uint32_t end, double n) {
  const double h = shape.hidden, i = shape.intermediate;
  double flops = 0;
  for (uint32_t layer = from; layer < end; ++layer) {
    const double read = layer + 1 == shape.layers ? 1 : n;
    flops += n * 2 * h * h + read * (2 * h * h + 2 * h * i + 2 * n * h);
  }
  return flops;
}

double predicted_ratio(const testing_util::ModelShape& shape, const FanOutCase& point, uint32_t tasks) {
  const double shared = layer_flops(shape, 0, point.first_layer, point.length);
  return (shared / tasks + layer_flops(shape, point.first_layer, shape.layers, point.length)) /
         layer_flops(shape, 0, shape.layers, point.length);
}

double sample(Session& session, const std::vector<Query>& queries, uint32_t repeats) {
  double seconds = 0;
  for (uint32_t i = 0; i < repeats; ++i) seconds += run_once(session, queries);
  return seconds / repeats;
}

}  // namespace

int run_fan_out(const FanOutOptions& options) {
  const testing_util::ModelShape shape = shape_named(options.shape);
  const auto base = testing_util::random_base(shape, 1);
  std::vector<FanOutCase> kinds(3);
  kinds[0].label = "heads alone";
  kinds[0].prefix = "head";
  kinds[0].first_layer = shape.layers;
  kinds[1].label = "LoRA r=8 q,v in the upper half";
  kinds[1].prefix = "upper";
  kinds[1].first_layer = shape.layers / 2;
  kinds[2].label = "LoRA r=8 q,v in all layers";
  kinds[2].prefix = "all";
  const testing_util::TemporaryFile file("bench-fan-out.pets");
  {
    std::vector<converter::PetTask> tasks;
    for (const FanOutCase& kind : kinds) {
      testing_util::PetOptions pet;
      pet.first_layer = kind.first_layer;
      for (uint32_t i = 0; i < options.tasks; ++i) {
        tasks.push_back(testing_util::random_task(base, PetKind::kLoraQueryValue, converter::HeadType::kSequenceClassification,
                                                  fmt::format("{}-{}", kind.prefix, i), tasks.size() + 1, pet));
      }
    }
    testing_util::write_random_bundle(file.path(), base, tasks, options.precision);
  }
  auto model = Model::load(file.c_str());
  if (!model) {
    fmt::print(stderr, "{}\n", model.status().c_str());
    return 1;
  }
  SessionOptions session_options;
  session_options.threads = options.threads;
  session_options.max_batch_tokens = 8192;
  session_options.max_batch_queries = 4096;
  auto session = Session::create(*model, session_options);
  if (!session) {
    fmt::print(stderr, "{}\n", session.status().c_str());
    return 1;
  }

  // Every query has a copy of its text; those that share view the first one.
  std::mt19937_64 random(1);
  std::vector<std::vector<std::vector<int32_t>>> ids(options.texts);
  for (auto& copies : ids) {
    std::vector<int32_t> text(128);
    for (int32_t& id : text) id = static_cast<int32_t>(random() % shape.vocabulary);
    copies.assign(options.tasks, text);
  }
  std::vector<std::string> names;
  names.reserve(kinds.size() * options.tasks);
  std::vector<FanOutCase> points;
  for (const FanOutCase& kind : kinds) {
    const size_t first_name = names.size();
    for (uint32_t i = 0; i < options.tasks; ++i) names.push_back(fmt::format("{}-{}", kind.prefix, i));
    for (const uint32_t length : {16U, 32U, 128U}) {
      for (const uint32_t texts : {1U, options.texts}) {
        FanOutCase point = kind;
        point.length = length;
        point.texts = texts;
        for (uint32_t text = 0; text < texts; ++text) {
          for (uint32_t task = 0; task < options.tasks; ++task) {
            Query query;
            query.task = names[first_name + task];
            query.has_ids = true;
            query.ids = std::span(ids[text][0]).first(length);
            if (task == 0) point.one.push_back(query);
            point.sharing.push_back(query);
            query.ids = std::span(ids[text][task]).first(length);
            point.separate.push_back(query);
          }
        }
        points.push_back(std::move(point));
      }
    }
  }
  for (FanOutCase& point : points) {
    for (const auto* queries : {&point.one, &point.sharing, &point.separate}) run_once(**session, *queries);
    point.repeats = static_cast<uint32_t>(std::ceil(kSampleSeconds / std::max(run_once(**session, point.one), 1e-4)));
  }
  for (uint32_t round = 0; round < options.rounds; ++round) {
    for (FanOutCase& point : points) {
      // Sharing is timed before and after what it is compared with, so that a slow minute hits both sides.
      const double before = sample(**session, point.sharing, point.repeats);
      const double one = sample(**session, point.one, point.repeats);
      const double between = sample(**session, point.sharing, point.repeats);
      const double separate = sample(**session, point.separate, (point.repeats + 7) / 8);
      const double after = sample(**session, point.sharing, point.repeats);
      point.seconds.push_back(between);
      point.to_one.push_back((before + between) / 2 / one);
      point.to_separate.push_back((between + after) / 2 / separate);
    }
  }
  fmt::print("{} shape, {} tasks on each text, {} threads, {}, {}, medians of {} rounds; predicted: the encoder's multiply-adds\n\n",
             options.shape, options.tasks, (*session)->threads(), (*model)->isa(), converter::precision_name(options.precision),
             options.rounds);
  fmt::print(
      "| tasks change | tokens a text | texts | ms | time / one task's | time / separate queries' | predicted |\n"
      "|---|---|---|---|---|---|---|\n");
  for (const FanOutCase& point : points) {
    fmt::print("| {} | {} | {} | {:.2f} | {:.2f} | {:.3f} | {:.3f} |\n", point.label, point.length, point.texts,
               median(point.seconds) * 1e3, median(point.to_one), median(point.to_separate), predicted_ratio(shape, point, options.tasks));
  }
  return 0;
}

}  // namespace pets::benchmarks
