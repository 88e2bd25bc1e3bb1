// Any bytes as a bundle: refused or quarantined, or else everything that the engine would follow can be read. The checksums are made
// right first, or nothing behind them would ever be reached.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>

#include "tests/bundle/reseal.h"

#include "runtime/bundle/bundle_file.h"
#include "schema/bundle_format.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using namespace pets;

volatile uint64_t sink;

void read_bytes(const void* data, size_t size) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  uint64_t sum = 0;
  for (size_t i = 0; i < size; ++i) sum += bytes[i];
  sink = sink + sum;
}

/// Reads what a task or base leads to: every tensor with its slack, every string. Stands for the engine.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> segment) : segment_(segment) {}

  void read(const schema::Tensor* tensor) const {
    if (tensor == nullptr) return;
    read_bytes(bundle::tensor_data(*tensor, segment_), tensor->length() + schema::kTensorSlack);
  }
  void read(const flatbuffers::String* text) const {
    if (text != nullptr) read_bytes(text->c_str(), text->size() + 1);
  }
  void read(const schema::Linear& linear) const {
    read(linear.weight());
    read(linear.bias());
    read(linear.scale());
  }
  void read(const schema::Norm* norm) const {
    if (norm == nullptr) return;
    read(norm->gamma());
    read(norm->beta());
  }
  void read(const schema::Base& base) const {
    read(base.source());
    read(base.word_embeddings());
    read(base.position_embeddings());
    read(base.token_type_embeddings());
    read(base.embeddings_norm());
    for (const schema::Layer* layer : *base.encoder()) {
      for (const schema::Linear* linear :
           {layer->query(), layer->key(), layer->value(), layer->attention_output(), layer->up(), layer->down()}) {
        read(*linear);
      }
      read(layer->attention_norm());
      read(layer->ffn_norm());
    }
    if (base.pooler() != nullptr) read(*base.pooler());
    if (base.tokenizer() == nullptr) return;
    read(base.tokenizer()->vocabulary_bytes());
    read(base.tokenizer()->vocabulary_offsets());
    read(base.tokenizer()->vocabulary_slots());
    read(base.tokenizer()->continuation_prefix());
    for (const schema::AddedToken* token : *base.tokenizer()->added_tokens()) read(token->content());
  }
  void read(const schema::Operator& op) const {
    if (const auto* bias = op.body_as_Bias()) read(bias->value());
    if (const auto* norm = op.body_as_TaskNorm()) {
      read(norm->gamma());
      read(norm->beta());
    }
    if (const auto* low_rank = op.body_as_LowRank()) {
      read(low_rank->a());
      read(low_rank->b());
    }
    if (const auto* sparse = op.body_as_Sparse()) read_sparse(*sparse);
    if (const auto* replaced = op.body_as_ReplacedRows()) {
      read(replaced->rows());
      read(replaced->values());
    }
    if (const auto* mask = op.body_as_Mask()) read(mask->bits());
    if (const auto* scale = op.body_as_Scale()) {
      read(scale->input());
      read(scale->output());
    }
    if (const auto* bottleneck = op.body_as_Bottleneck()) {
      read(*bottleneck->down());
      read(*bottleneck->up());
      read(bottleneck->norm_before());
      read(bottleneck->norm_after());
      read(bottleneck->channel_scaling());
    }
  }
  void read(const schema::Task& task) const {
    read(task.source());
    for (const schema::Operator* op : *task.operators()) read(*op);
    for (const schema::HeadLayer* layer : *task.head()->layers()) read(*layer->linear());
    for (const flatbuffers::String* label : *task.head()->labels()) read(label);
    for (const schema::GoldenExample* golden : *task.goldens()) {
      read(golden->text());
      read(golden->text_pair());
      read_bytes(golden->logits()->Data(), golden->logits()->size() * sizeof(float));
    }
  }

 private:
  /// As the kernel walks it: every index must lead into rows and values.
  void read_sparse(const schema::Sparse& sparse) const {
    const auto* start = bundle::tensor_as<uint32_t>(sparse.column_start(), segment_);
    const auto* rows = bundle::tensor_as<uint16_t>(sparse.rows(), segment_);
    const auto* values = bundle::tensor_as<float>(sparse.values(), segment_);
    for (uint64_t column = 0; column + 1 < sparse.column_start()->shape()->Get(0); ++column) {
      if (start[column + 1] < start[column]) std::abort();
      read_bytes(rows + start[column], (start[column + 1] - start[column]) * sizeof(uint16_t));
      read_bytes(values + start[column], (start[column + 1] - start[column]) * sizeof(float));
    }
  }

  std::span<const std::byte> segment_;
};

void check(std::span<const std::byte> bytes, bundle::Verification verification) {
  static const bundle::Dimensions kBase{4, 1, 2, 6, 100, 4, 2, true};  // of the seeds
  const auto file = bundle::BundleFile::parse(bytes, "fuzz.pets", verification, &kBase);
  if (!file) {
    if (file.status().message().empty()) std::abort();
    return;
  }
  if ((*file)->has_base()) Reader((*file)->base().bytes).read(*(*file)->base().base);
  for (const bundle::TaskSegment& task : (*file)->tasks()) {
    if (task.status.is_ok() != (task.task != nullptr)) std::abort();
    if (task.task != nullptr) Reader(task.bytes).read(*task.task);
  }
}

}  // namespace

/// Three times of four changes a number in the header, the directory or a segment's metadata, where nearly all checks are; else anything.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  std::minstd_rand random(seed);
  if (size < 4096 || random() % 4 == 0) return LLVMFuzzerMutate(data, size, max_size);
  const size_t pages = size / 4096;
  const size_t start = random() % 2 == 0 ? 0 : random() % pages * 4096;
  const size_t span = random() % 2 == 0 ? 512 : 4096;
  const size_t width = size_t{1} << random() % 4;
  const size_t at = start + random() % (span / width) * width;
  if (at + width > size) return LLVMFuzzerMutate(data, size, max_size);
  constexpr uint64_t kValues[] = {0,  1,  2,   3,    4,    7,     8,     15,        16,         63,
                                  64, 65, 255, 4095, 4096, 65535, 65536, INT32_MAX, UINT32_MAX, UINT64_MAX};
  uint64_t value = 0;
  std::memcpy(&value, data + at, width);
  switch (random() % 4) {
    case 0:
      value = kValues[random() % std::size(kValues)];
      break;
    case 1:
      value += random() % 129 - 64;
      break;
    case 2:
      value ^= uint64_t{1} << random() % (8 * width);
      break;
    default:
      value = uint64_t{random()} << 32 | random();
  }
  std::memcpy(data + at, &value, width);
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  pets::bundle_test::AlignedBytes bytes(std::as_bytes(std::span(data, size)));
  check(bytes.bytes(), bundle::Verification::kFull);
  pets::bundle_test::reseal(bytes.bytes());
  check(bytes.bytes(), bundle::Verification::kFull);
  check(bytes.bytes(), bundle::Verification::kStructure);
  return 0;
}
