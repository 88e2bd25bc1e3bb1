// Random encoders and tasks of every kind, packed into bundles: what tests and benchmarks run where no trained model is needed.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "converter/bundle/bundle_writer.h"
#include "converter/model/base_model.h"
#include "converter/model/operators.h"

namespace pets::testing_util {

struct ModelShape {
  uint32_t hidden = 48, layers = 2, heads = 3, intermediate = 112, vocabulary = 211, positions = 96, token_types = 2;
};

/// MiniLM-L6's and BERT-base's shapes.
ModelShape minilm_shape();
ModelShape bert_base_shape();

/// Weights N(0, 1 / sqrt(in)), norms about 1 and 0, no tokenizer; `fingerprint` is made up from the seed.
converter::BaseModel random_base(const ModelShape& shape, uint64_t seed);

/// Gives the base a WordPiece tokenizer over letters, digits and punctuation; the vocabulary must have at least 100 rows.
void add_tokenizer(converter::BaseModel& base);

/// A PET type, as the converter's recipes would emit it.
enum class PetKind {
  kNone,
  kLoraQueryValue,  ///< rank 8 on query and value
  kLoraAll,         ///< mixed ranks on all six linears
  kBitFit,          ///< all biases and norm betas
  kDiffPruning,     ///< 1 % of every linear
  kMaskBert,        ///< 5 % of every linear zeroed
  kIa3,             ///< key, value scaled at the output, down at the input
  kHoulsby,         ///< two bottlenecks a layer
  kPfeiffer,        ///< one after the FFN
  kParallel,        ///< parallel to the FFN, scaled
  kEverything       ///< all linear operators at one site, bottleneck options, norms, replaced embedding rows
};
inline constexpr PetKind kAllPetKinds[] = {PetKind::kNone,        PetKind::kLoraQueryValue, PetKind::kLoraAll,   PetKind::kBitFit,
                                           PetKind::kDiffPruning, PetKind::kMaskBert,       PetKind::kIa3,       PetKind::kHoulsby,
                                           PetKind::kPfeiffer,    PetKind::kParallel,       PetKind::kEverything};
const char* pet_kind_name(PetKind kind);

inline constexpr converter::Precision kAllPrecisions[] = {converter::Precision::kFloat32, converter::Precision::kFloat16,
                                                          converter::Precision::kBFloat16, converter::Precision::kInt8};

struct PetOptions {
  uint32_t bottleneck = 16;
  double sparse_density = 0.01;
  double mask_density = 0.05;
  uint32_t first_layer = 0;  ///< operators exist from this layer on
};

/// A task with a head of `type`; every delta is large enough to change the logits visibly.
converter::PetTask random_task(const converter::BaseModel& base, PetKind kind, converter::HeadType type, const std::string& name,
                               uint64_t seed, const PetOptions& options = {});

/// Packs and writes; aborts the test program with a message on failure.
void write_random_bundle(const std::string& path, const converter::BaseModel& base, const std::vector<converter::PetTask>& tasks,
                         converter::Precision precision = converter::Precision::kFloat32,
                         converter::Target target = converter::Target::kCpu);
void write_random_delta(const std::string& path, const converter::BaseModel& base, const std::vector<converter::PetTask>& tasks);

/// A file name in the test's temporary folder, removed with the object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& name);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }
  const char* c_str() const { return path_.c_str(); }

 private:
  std::string path_;
};

}  // namespace pets::testing_util
