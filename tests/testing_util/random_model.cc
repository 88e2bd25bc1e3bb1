#include "tests/testing_util/random_model.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <numeric>

#include "converter/model/check_task.h"

namespace pets::testing_util {
namespace {

using namespace converter;

[[noreturn]] void fail(const char* what, const Status& status) {
  std::fprintf(stderr, "%s: %s\n", what, status.c_str());
  std::abort();
}

/// Random values with the names that the code below reads well with.
class Source {
 public:
  explicit Source(uint64_t seed) : engine_(seed) {}

  std::vector<float> normal(size_t count, float deviation, float mean = 0) {
    std::normal_distribution<float> distribution(mean, deviation);
    std::vector<float> values(count);
    for (float& value : values) value = distribution(engine_);
    return values;
  }
  Matrix matrix(uint64_t rows, uint64_t columns, float deviation) { return {rows, columns, normal(rows * columns, deviation)}; }
  /// Ascending distinct numbers below `limit`, each taken with probability `density`, at least one.
  std::vector<uint32_t> sample(uint32_t limit, double density) {
    std::geometric_distribution<uint64_t> gap(density);
    std::vector<uint32_t> chosen;
    for (uint64_t i = gap(engine_); i < limit; i += 1 + gap(engine_)) chosen.push_back(static_cast<uint32_t>(i));
    if (chosen.empty()) chosen.push_back(static_cast<uint32_t>(engine_() % limit));
    return chosen;
  }

 private:
  std::mt19937_64 engine_;
};

LinearWeights random_linear(Source& source, uint32_t out, uint32_t in) {
  return {source.matrix(out, in, 1.0F / std::sqrt(static_cast<float>(in))), source.normal(out, 0.1F)};
}

NormWeights random_norm(Source& source, uint32_t hidden) { return {source.normal(hidden, 0.1F, 1), source.normal(hidden, 0.1F)}; }

constexpr SiteKind kLinears[] = {SiteKind::kAttentionQuery,  SiteKind::kAttentionKey, SiteKind::kAttentionValue,
                                 SiteKind::kAttentionOutput, SiteKind::kFfnUp,        SiteKind::kFfnDown};

/// Emits operators for one task.
class TaskBuilder {
 public:
  TaskBuilder(const BaseModel& base, const PetOptions& options, PetTask& task, uint64_t seed)
      : base_(base), options_(options), task_(task), source_(seed) {}

  void bias(Site site) { add(site, BiasOperator{source_.normal(out(site), 0.2F)}); }
  void norm(Site site, bool gamma) {
    add(site, NormOperator{gamma ? source_.normal(base_.hidden, 0.2F, 1) : std::vector<float>(), source_.normal(base_.hidden, 0.2F)});
  }
  void low_rank(Site site, uint32_t rank) {
    add(site, LowRankOperator{source_.matrix(rank, in(site), 1.0F / std::sqrt(static_cast<float>(in(site)))),
                              source_.matrix(out(site), rank, 0.2F), 0.75});
  }
  void sparse(Site site) {
    SparseOperator op;
    const auto columns = static_cast<uint32_t>(in(site));
    for (const uint32_t at : source_.sample(static_cast<uint32_t>(out(site)) * columns, options_.sparse_density)) {
      op.out.push_back(at / columns);
      op.in.push_back(at % columns);
    }
    op.values = source_.normal(op.out.size(), 0.3F);
    add(site, std::move(op));
  }
  void mask(Site site) {
    MaskOperator op;
    op.out = out(site);
    op.in = in(site);
    const size_t bytes = (op.in + 7) / 8;
    op.bits.assign(op.out * bytes, 0xFF);
    if (op.in % 8 != 0) {
      for (uint64_t o = 0; o < op.out; ++o) op.bits[o * bytes + bytes - 1] = static_cast<uint8_t>((1U << (op.in % 8)) - 1);
    }
    const auto columns = static_cast<uint32_t>(op.in);
    for (const uint32_t at : source_.sample(static_cast<uint32_t>(op.out) * columns, options_.mask_density)) {
      const uint32_t i = at % columns;
      op.bits[at / columns * bytes + i / 8] = static_cast<uint8_t>(op.bits[at / columns * bytes + i / 8] & ~(1U << (i % 8)));
    }
    add(site, std::move(op));
  }
  void scale(Site site, bool input, bool output) {
    add(site, ScaleOperator{input ? source_.normal(in(site), 0.2F, 1) : std::vector<float>(),
                            output ? source_.normal(out(site), 0.2F, 1) : std::vector<float>()});
  }
  BottleneckOperator bottleneck() {
    BottleneckOperator op;
    op.down = source_.matrix(options_.bottleneck, base_.hidden, 1.0F / std::sqrt(static_cast<float>(base_.hidden)));
    op.down_bias = source_.normal(options_.bottleneck, 0.1F);
    op.up = source_.matrix(base_.hidden, options_.bottleneck, 0.1F);
    op.up_bias = source_.normal(base_.hidden, 0.1F);
    return op;
  }
  NormOperator norm_parameters() { return {source_.normal(base_.hidden, 0.1F, 1), source_.normal(base_.hidden, 0.1F)}; }
  void replaced_rows(SiteKind kind, uint32_t table_rows) {
    ReplacedRowsOperator op;
    op.rows = source_.sample(table_rows, 0.1);
    op.values = source_.matrix(op.rows.size(), base_.hidden, 0.5F);
    add({kind, 0}, std::move(op));
  }
  template <typename Body>
  void add(Site site, Body body) {
    task_.operators.push_back({site, std::move(body)});
  }
  Source& source() { return source_; }

 private:
  uint64_t out(Site site) const { return base_.linear(site)->weight.rows; }
  uint64_t in(Site site) const { return base_.linear(site)->weight.columns; }

  const BaseModel& base_;
  const PetOptions& options_;
  PetTask& task_;
  Source source_;
};

void everything(TaskBuilder& builder, const BaseModel& base, uint32_t layer) {
  for (const SiteKind kind : kLinears) {
    builder.bias({kind, layer});
    builder.low_rank({kind, layer}, 3);
    builder.sparse({kind, layer});
    if (layer % 2 == 0) builder.mask({kind, layer});
    builder.scale({kind, layer}, true, true);
  }
  builder.norm({SiteKind::kAttentionNorm, layer}, true);
  builder.norm({SiteKind::kFfnNorm, layer}, false);
  BottleneckOperator op = builder.bottleneck();
  op.activation = Activation::kGelu;
  op.original_norm_before = true;
  op.residual_before_norm = schema::ResidualBeforeNorm::kOriginal;
  op.norm_before = builder.norm_parameters();
  op.norm_after = builder.norm_parameters();
  op.channel_scaling = builder.source().normal(base.hidden, 0.2F, 1);
  builder.add({SiteKind::kAttention, layer}, op);
  if (layer != 0) return;
  builder.norm({SiteKind::kEmbeddingsNorm, 0}, true);
  builder.replaced_rows(SiteKind::kEmbeddingsWord, base.vocabulary);
  builder.replaced_rows(SiteKind::kEmbeddingsPosition, base.positions);
  builder.replaced_rows(SiteKind::kEmbeddingsTokenType, base.token_types);
}

void add_layer(TaskBuilder& builder, const BaseModel& base, PetKind kind, uint32_t layer) {
  switch (kind) {
    case PetKind::kNone:
      break;
    case PetKind::kLoraQueryValue:
      builder.low_rank({SiteKind::kAttentionQuery, layer}, 8);
      builder.low_rank({SiteKind::kAttentionValue, layer}, 8);
      break;
    case PetKind::kLoraAll:
      for (uint32_t i = 0; i < std::size(kLinears); ++i) builder.low_rank({kLinears[i], layer}, 1 + 5 * ((i + layer) % 5));
      break;
    case PetKind::kBitFit:
      for (const SiteKind site : kLinears) builder.bias({site, layer});
      builder.norm({SiteKind::kAttentionNorm, layer}, false);
      builder.norm({SiteKind::kFfnNorm, layer}, false);
      break;
    case PetKind::kDiffPruning:
      for (const SiteKind site : kLinears) builder.sparse({site, layer});
      break;
    case PetKind::kMaskBert:
      for (const SiteKind site : kLinears) builder.mask({site, layer});
      break;
    case PetKind::kIa3:
      builder.scale({SiteKind::kAttentionKey, layer}, false, true);
      builder.scale({SiteKind::kAttentionValue, layer}, false, true);
      builder.scale({SiteKind::kFfnDown, layer}, true, false);
      break;
    case PetKind::kHoulsby:
      builder.add({SiteKind::kAttention, layer}, builder.bottleneck());
      builder.add({SiteKind::kFfn, layer}, builder.bottleneck());
      break;
    case PetKind::kPfeiffer:
      builder.add({SiteKind::kFfn, layer}, builder.bottleneck());
      break;
    case PetKind::kParallel: {
      BottleneckOperator op = builder.bottleneck();
      op.parallel = true;
      op.scaling = 4;
      builder.add({SiteKind::kFfn, layer}, op);
      break;
    }
    case PetKind::kEverything:
      everything(builder, base, layer);
      break;
  }
}

HeadSpec random_head(const BaseModel& base, HeadType type, Source& source) {
  HeadSpec head;
  head.type = type;
  const bool tokens = type == HeadType::kTokenClassification || type == HeadType::kQuestionAnswering;
  head.pooling = tokens ? Pooling::kTokens : type == HeadType::kMultiLabelClassification ? Pooling::kCls : Pooling::kPooler;
  if (type == HeadType::kEmbedding) {
    head.pooling = Pooling::kMean;
    head.normalize = true;
    return head;
  }
  uint32_t outputs = 3;
  if (type == HeadType::kRegression) outputs = 1;
  if (type == HeadType::kQuestionAnswering) outputs = 2;
  if (type == HeadType::kTokenClassification) outputs = 5;
  if (type == HeadType::kMultiLabelClassification) {
    head.layers.push_back({source.matrix(base.hidden, base.hidden, 1.0F / std::sqrt(static_cast<float>(base.hidden))),
                           source.normal(base.hidden, 0.1F), Activation::kTanh});
  }
  head.layers.push_back({source.matrix(outputs, base.hidden, 0.3F), source.normal(outputs, 0.1F), Activation::kNone});
  if (type == HeadType::kQuestionAnswering) return head;
  for (uint32_t i = 0; i < outputs; ++i) head.labels.push_back("LABEL_" + std::to_string(i));
  return head;
}

}  // namespace

ModelShape minilm_shape() { return {384, 6, 12, 1536, 30522, 512, 2}; }
ModelShape bert_base_shape() { return {768, 12, 12, 3072, 30522, 512, 2}; }

const char* pet_kind_name(PetKind kind) {
  static constexpr const char* kNames[] = {"none", "lora-qv", "lora-all", "bitfit",   "diff-pruning", "maskbert",
                                           "ia3",  "houlsby", "pfeiffer", "parallel", "everything"};
  return kNames[static_cast<size_t>(kind)];
}

BaseModel random_base(const ModelShape& shape, uint64_t seed) {
  Source source(seed);
  BaseModel base;
  base.source = "random";
  base.hidden = shape.hidden;
  base.layers = shape.layers;
  base.heads = shape.heads;
  base.intermediate = shape.intermediate;
  base.vocabulary = shape.vocabulary;
  base.positions = shape.positions;
  base.token_types = shape.token_types;
  base.word_embeddings = source.matrix(shape.vocabulary, shape.hidden, 1);
  base.position_embeddings = source.matrix(shape.positions, shape.hidden, 0.5F);
  base.token_type_embeddings = source.matrix(shape.token_types, shape.hidden, 0.5F);
  base.embeddings_norm = random_norm(source, shape.hidden);
  for (uint32_t n = 0; n < shape.layers; ++n) {
    LayerWeights layer;
    layer.query = random_linear(source, shape.hidden, shape.hidden);
    layer.key = random_linear(source, shape.hidden, shape.hidden);
    layer.value = random_linear(source, shape.hidden, shape.hidden);
    layer.attention_output = random_linear(source, shape.hidden, shape.hidden);
    layer.attention_norm = random_norm(source, shape.hidden);
    layer.up = random_linear(source, shape.intermediate, shape.hidden);
    layer.down = random_linear(source, shape.hidden, shape.intermediate);
    layer.ffn_norm = random_norm(source, shape.hidden);
    base.encoder.push_back(std::move(layer));
  }
  base.pooler = random_linear(source, shape.hidden, shape.hidden);
  char fingerprint[33];
  std::snprintf(fingerprint, sizeof(fingerprint), "%032llx", static_cast<unsigned long long>(seed));
  base.fingerprint = fingerprint;
  return base;
}

void add_tokenizer(BaseModel& base) {
  tokenizer::WordPieceTables& tables = base.tokenizer.tables;
  tables.vocabulary = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  for (char c = 'a'; c <= 'z'; ++c) {
    tables.vocabulary.emplace_back(1, c);
    tables.vocabulary.push_back(std::string("##") + c);
  }
  for (const char c : std::string("0123456789.,!?-'")) tables.vocabulary.emplace_back(1, c);
  for (const char* word : {"the", "film", "was", "good", "bad", "##ing", "##ed"}) tables.vocabulary.emplace_back(word);
  tables.vocabulary.resize(base.vocabulary);
  tables.unknown_id = 1;
  tables.class_id = 2;
  tables.separator_id = 3;
  for (uint32_t id = 0; id < 5; ++id) tables.added_tokens.push_back({id, tables.vocabulary[id], true, false, false, false, false});
  if (const Status status = tokenizer::prepare_added_tokens(tables); !status) fail("prepare_added_tokens", status);
  base.has_tokenizer = true;
}

PetTask random_task(const BaseModel& base, PetKind kind, HeadType type, const std::string& name, uint64_t seed, const PetOptions& options) {
  PetTask task;
  task.name = name;
  task.source = pet_kind_name(kind);
  task.max_length = base.positions;
  TaskBuilder builder(base, options, task, seed);
  for (uint32_t layer = options.first_layer; layer < base.layers; ++layer) add_layer(builder, base, kind, layer);
  task.head = random_head(base, type, builder.source());
  return task;
}

void write_random_bundle(const std::string& path, const BaseModel& base, const std::vector<PetTask>& tasks, Precision precision,
                         Target target) {
  auto segment = make_base_segment(base, precision, target);
  if (!segment) fail("make_base_segment", segment.status());
  std::vector<SegmentImage> images;
  for (const PetTask& task : tasks) {
    if (const Status status = check_task(base, task); !status) fail("check_task", status);
    auto image = make_task_segment(base, task, {});
    if (!image) fail("make_task_segment", image.status());
    images.push_back(std::move(*image));
  }
  if (const Status status = write_bundle(path, &*segment, images, base.fingerprint); !status) fail("write_bundle", status);
}

void write_random_delta(const std::string& path, const BaseModel& base, const std::vector<PetTask>& tasks) {
  std::vector<SegmentImage> images;
  for (const PetTask& task : tasks) {
    auto image = make_task_segment(base, task, {});
    if (!image) fail("make_task_segment", image.status());
    images.push_back(std::move(*image));
  }
  if (const Status status = write_bundle(path, nullptr, images, base.fingerprint); !status) fail("write_bundle", status);
}

TemporaryFile::TemporaryFile(const std::string& name)
    : path_((std::filesystem::temp_directory_path() / ("pets-" + std::to_string(::getpid()) + "-" + name)).string()) {}

TemporaryFile::~TemporaryFile() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

}  // namespace pets::testing_util
