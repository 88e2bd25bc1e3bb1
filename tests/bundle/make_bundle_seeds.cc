// Writes the seed corpus of bundle_fuzz: bundles as small as the format allows.
#include <cstdio>

#include "tests/testing_util/random_model.h"

using namespace pets;
using converter::HeadType;
using testing_util::PetKind;

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_bundle_seeds DIRECTORY\n");
    return 2;
  }
  testing_util::ModelShape shape;  // the fuzzer gives these sizes to delta bundles
  shape.hidden = 4;
  shape.layers = 1;
  shape.heads = 2;
  shape.intermediate = 6;
  shape.vocabulary = 100;
  shape.positions = 4;
  const converter::BaseModel plain = testing_util::random_base(shape, 1);
  converter::BaseModel speaking = plain;
  testing_util::add_tokenizer(speaking);
  const testing_util::PetOptions options{.bottleneck = 2, .sparse_density = 0.2};
  const auto everything =
      testing_util::random_task(plain, PetKind::kEverything, HeadType::kSequenceClassification, "everything", 2, options);
  const auto embedding = testing_util::random_task(plain, PetKind::kNone, HeadType::kEmbedding, "embedding", 3, options);
  const auto parallel = testing_util::random_task(plain, PetKind::kParallel, HeadType::kMultiLabelClassification, "parallel", 4, options);
  const std::string folder = std::string(argv[1]) + "/";
  testing_util::write_random_bundle(folder + "everything", speaking, {everything});
  testing_util::write_random_bundle(folder + "half", plain, {embedding}, converter::Precision::kFloat16);
  testing_util::write_random_bundle(folder + "bfloat", plain, {embedding}, converter::Precision::kBFloat16);
  testing_util::write_random_bundle(folder + "int8", plain, {embedding}, converter::Precision::kInt8);
  testing_util::write_random_bundle(folder + "for_cuda", plain, {embedding}, converter::Precision::kFloat16, converter::Target::kCuda);
  testing_util::write_random_bundle(folder + "no_tasks", plain, {});
  testing_util::write_random_delta(folder + "delta", plain, {parallel, embedding});
  return 0;
}
