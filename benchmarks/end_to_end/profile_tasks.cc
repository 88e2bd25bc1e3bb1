#include "benchmarks/end_to_end/profile_tasks.h"

#include <fmt/core.h>

#include <functional>

namespace pets::benchmarks {
namespace {

using converter::PetTask;
using converter::SiteKind;
using serving::OperatorFamily;
using testing_util::PetKind;

constexpr SiteKind kEveryLinear[] = {SiteKind::kAttentionQuery,  SiteKind::kAttentionKey, SiteKind::kAttentionValue,
                                     SiteKind::kAttentionOutput, SiteKind::kFfnUp,        SiteKind::kFfnDown};

/// Times do not depend on values: these only have to keep activations in an ordinary range.
std::vector<float> values_near(float mean, uint64_t count, uint64_t seed) {
  std::vector<float> values(count);
  uint64_t state = seed * 2 + 1;
  for (float& value : values) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    value = mean + 0.02F * (static_cast<float>(state >> 40U) / static_cast<float>(1U << 24U) - 0.5F);
  }
  return values;
}

/// The shape alone, no weights: what tasks are made for.
converter::BaseModel shape_of(const engine::BaseWeights& base, const std::string& fingerprint) {
  converter::BaseModel shape;
  shape.hidden = base.hidden;
  shape.layers = base.layers;
  shape.heads = base.heads;
  shape.intermediate = base.intermediate;
  shape.vocabulary = base.vocabulary;
  shape.positions = base.positions;
  shape.token_types = base.token_types;
  shape.fingerprint = fingerprint;
  const auto linear = [](uint64_t out, uint64_t in) { return converter::LinearWeights{{out, in, {}}, {}}; };
  converter::LayerWeights layer;
  layer.query = layer.key = layer.value = layer.attention_output = linear(base.hidden, base.hidden);
  layer.up = linear(base.intermediate, base.hidden);
  layer.down = linear(base.hidden, base.intermediate);
  shape.encoder.assign(base.layers, layer);
  if (base.pooler.panels != nullptr) shape.pooler = linear(base.hidden, base.hidden);
  return shape;
}

/// Operators of one family and size.
struct Recipe {
  OperatorFamily family;
  const char* name;
  std::function<void(const converter::BaseModel& base, PetTask& task, uint64_t seed)> add;
};

using Add = std::function<void(const converter::BaseModel& base, PetTask& task, uint64_t seed)>;

/// A PET type of the converter.
Add of_kind(PetKind kind, const testing_util::PetOptions& options) {
  return [=](const converter::BaseModel& base, PetTask& task, uint64_t seed) {
    task.operators = testing_util::random_task(base, kind, converter::HeadType::kRegression, "unused", seed, options).operators;
  };
}

/// The operators of such a type at some linears.
Add at_linears(PetKind kind, const testing_util::PetOptions& options, std::vector<SiteKind> sites) {
  return [=](const converter::BaseModel& base, PetTask& task, uint64_t seed) {
    for (auto& op : testing_util::random_task(base, kind, converter::HeadType::kRegression, "unused", seed, options).operators) {
      if (std::find(sites.begin(), sites.end(), op.site.kind) != sites.end()) task.operators.push_back(std::move(op));
    }
  };
}

Add low_rank(uint32_t rank) {
  return [=](const converter::BaseModel& base, PetTask& task, uint64_t seed) {
    for (uint32_t n = 0; n < base.layers; ++n) {
      for (const SiteKind kind : {SiteKind::kAttentionQuery, SiteKind::kAttentionValue}) {
        const converter::Matrix& weight = base.linear({kind, n})->weight;
        task.operators.push_back({{kind, n},
                                  converter::LowRankOperator{{rank, weight.columns, values_near(0, rank * weight.columns, ++seed)},
                                                             {weight.rows, rank, values_near(0, weight.rows * rank, ++seed)},
                                                             1}});
      }
    }
  };
}

Add biases(std::vector<SiteKind> sites) {
  return [=](const converter::BaseModel& base, PetTask& task, uint64_t seed) {
    for (uint32_t n = 0; n < base.layers; ++n) {
      for (const SiteKind kind : sites) {
        task.operators.push_back({{kind, n}, converter::BiasOperator{values_near(0, base.linear({kind, n})->weight.rows, ++seed)}});
      }
    }
  };
}

Add norms(std::vector<SiteKind> sites) {
  return [=](const converter::BaseModel& base, PetTask& task, uint64_t seed) {
    for (uint32_t n = 0; n < base.layers; ++n) {
      for (const SiteKind kind : sites) {
        task.operators.push_back(
            {{kind, n}, converter::NormOperator{values_near(1, base.hidden, ++seed), values_near(0, base.hidden, ++seed)}});
      }
    }
  };
}

Add scales(std::vector<SiteKind> outputs, bool down_input) {
  return [=](const converter::BaseModel& base, PetTask& task, uint64_t seed) {
    for (uint32_t n = 0; n < base.layers; ++n) {
      for (const SiteKind kind : outputs) {
        task.operators.push_back({{kind, n}, converter::ScaleOperator{{}, values_near(1, base.linear({kind, n})->weight.rows, ++seed)}});
      }
      if (down_input) {
        task.operators.push_back({{SiteKind::kFfnDown, n}, converter::ScaleOperator{values_near(1, base.intermediate, ++seed), {}}});
      }
    }
  };
}

testing_util::PetOptions density(double sparse) {
  testing_util::PetOptions options;
  options.sparse_density = sparse;
  return options;
}
testing_util::PetOptions inner(uint32_t width) {
  testing_util::PetOptions options;
  options.bottleneck = width;
  return options;
}

std::vector<Recipe> recipes() {
  const std::vector<SiteKind> every(std::begin(kEveryLinear), std::end(kEveryLinear));
  return {{OperatorFamily::kBias, "bias-all", biases(every)},
          {OperatorFamily::kBias, "bias-query", biases({SiteKind::kAttentionQuery})},
          {OperatorFamily::kNorm, "norm-all", norms({SiteKind::kAttentionNorm, SiteKind::kFfnNorm})},
          {OperatorFamily::kNorm, "norm-ffn", norms({SiteKind::kFfnNorm})},
          {OperatorFamily::kLowRank, "rank-4", low_rank(4)},
          {OperatorFamily::kLowRank, "rank-8", low_rank(8)},
          {OperatorFamily::kLowRank, "rank-64", low_rank(64)},
          {OperatorFamily::kSparse, "sparse-0.5%", of_kind(PetKind::kDiffPruning, density(0.005))},
          {OperatorFamily::kSparse, "sparse-2%", of_kind(PetKind::kDiffPruning, density(0.02))},
          {OperatorFamily::kMask, "mask-all", of_kind(PetKind::kMaskBert, {})},
          {OperatorFamily::kMask, "mask-qv", at_linears(PetKind::kMaskBert, {}, {SiteKind::kAttentionQuery, SiteKind::kAttentionValue})},
          {OperatorFamily::kScale, "scale-key", scales({SiteKind::kAttentionKey}, false)},
          {OperatorFamily::kScale, "scale-ia3", scales({SiteKind::kAttentionKey, SiteKind::kAttentionValue}, true)},
          {OperatorFamily::kBottleneck, "bottleneck-16", of_kind(PetKind::kHoulsby, inner(16))},
          {OperatorFamily::kBottleneck, "bottleneck-64", of_kind(PetKind::kHoulsby, inner(64))}};
}

std::string predicted_task_name(PetKind kind, uint32_t index) {
  return fmt::format("predicted-{}-{}", testing_util::pet_kind_name(kind), index);
}

}  // namespace

std::vector<ProfiledTasks> profiled_tasks() {
  std::vector<ProfiledTasks> tasks;
  for (const Recipe& recipe : recipes()) tasks.push_back({recipe.family, recipe.name});
  return tasks;
}

std::string profiled_task_name(const ProfiledTasks& tasks, uint32_t index) { return fmt::format("profile-{}-{}", tasks.name, index); }

std::vector<std::string> predicted_task_names() {
  std::vector<std::string> names;
  for (const PetKind kind : testing_util::kAllPetKinds) {
    for (uint32_t i = 0; i < kPredictedTasks; ++i) names.push_back(predicted_task_name(kind, i));
  }
  return names;
}

void write_profile_tasks(const std::string& path, const engine::BaseWeights& base, const std::string& fingerprint) {
  const converter::BaseModel shape = shape_of(base, fingerprint);
  std::vector<PetTask> tasks;
  uint64_t seed = 1;
  const auto add = [&](PetKind kind, const std::string& name) -> PetTask& {
    tasks.push_back(testing_util::random_task(shape, kind, converter::HeadType::kSequenceClassification, name, ++seed, inner(64)));
    if (!shape.pooler) tasks.back().head.pooling = converter::Pooling::kCls;
    return tasks.back();
  };
  add(PetKind::kNone, kUnchangedTask);
  for (const Recipe& recipe : recipes()) {
    for (uint32_t i = 0; i < kProfiledTasks; ++i) {
      recipe.add(shape, add(PetKind::kNone, profiled_task_name({recipe.family, recipe.name}, i)), seed * 1000);
    }
  }
  for (const PetKind kind : testing_util::kAllPetKinds) {
    for (uint32_t i = 0; i < kPredictedTasks; ++i) add(kind, predicted_task_name(kind, i));
  }
  testing_util::write_random_delta(path, shape, tasks);
}

}  // namespace pets::benchmarks
