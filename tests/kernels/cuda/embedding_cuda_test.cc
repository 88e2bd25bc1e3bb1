#include "kernels/embedding/embedding_cuda.h"

#include "tests/kernels/cuda/bounded.h"

namespace pets::kernels::cuda {
namespace {

constexpr float kEmbeddingEpsilon = 1e-12F;

/// Rows of a table that a task replaces, on the device and as a reference reads them.
template <class T>
struct Replaced {
  std::vector<uint32_t> rows;
  std::vector<float> values;
  DeviceArray<uint32_t> d_rows;
  DeviceArray<T> d_values;

  Replaced(Random& random, std::vector<uint32_t> rows_, uint32_t width)
      : rows(std::move(rows_)), values(random.floats(rows.size() * width)) {
    d_rows = DeviceArray<uint32_t>(rows);
    d_values = DeviceArray<T>(rounded<T>(values));
  }
  TaskRows on_device() const { return {d_rows.data(), d_values.data(), static_cast<uint32_t>(rows.size())}; }
};

template <class T>
BoundedRow table_row(const std::vector<float>& table, const Replaced<T>* replaced, uint32_t id, uint32_t width) {
  if (replaced != nullptr) {
    const auto found = std::find(replaced->rows.begin(), replaced->rows.end(), id);
    if (found != replaced->rows.end()) return exact(replaced->values.data() + (found - replaced->rows.begin()) * width, width);
  }
  return exact(table.data() + size_t{id} * width, width);
}

template <class T>
class EmbeddingCuda : public ::testing::Test {};
TYPED_TEST_SUITE(EmbeddingCuda, ActivationTypes);

// Slot 0: the base's tables and norm. 1: some words, and a norm. 2: one word, some positions and token types. The operators of this kind
// are every second.
TYPED_TEST(EmbeddingCuda, EveryRowHasItsTasksTables) {
  using T = TypeParam;
  constexpr uint32_t kWords = 30, kPositions = 9, kTypes = 2;
  for (const uint32_t width : {8U, 48U, 384U, 776U, 1024U}) {
    const uint64_t seed = std::random_device()();
    SCOPED_TRACE(::testing::Message() << "width " << width << " seed " << seed);
    Random random(seed);
    std::vector<float> word = random.floats(kWords * width), position = random.floats(kPositions * width),
                       type = random.floats(kTypes * width);
    const DeviceArray<T> d_word(rounded<T>(word)), d_position(rounded<T>(position)), d_type(rounded<T>(type));
    const std::vector<float> gamma = random.floats(width, 1, 0.3F), beta = random.floats(width), own_gamma = random.floats(width, 1, 0.3F),
                             own_beta = random.floats(width);
    const DeviceArray<float> d_gamma(gamma), d_beta(beta), d_own_gamma(own_gamma), d_own_beta(own_beta);
    const Replaced<T> words1(random, {0, 3, 4, 17, 29}, width), words2(random, {12}, width), positions2(random, {1, 8}, width),
        types2(random, {1}, width);
    std::vector<TaskEmbeddings> tasks(6);
    tasks[2].word = words1.on_device();
    tasks[2].norm = {d_own_gamma.data(), d_own_beta.data()};
    tasks[4] = {words2.on_device(), positions2.on_device(), types2.on_device(), {}};
    const DeviceArray<TaskEmbeddings> d_tasks(tasks);

    std::vector<TokenRow> tokens;
    std::vector<uint16_t> slots;
    for (const uint32_t id : {0U, 1U, 3U, 5U, 17U, 28U, 29U, 12U, 11U}) {
      for (uint16_t slot = 0; slot < 3; ++slot) {
        tokens.push_back({id, static_cast<uint16_t>(random.below(kPositions)), static_cast<uint16_t>(random.below(kTypes))});
        slots.push_back(slot);
      }
    }
    const DeviceArray<TokenRow> d_tokens(tokens);
    const DeviceArray<uint16_t> d_slots(slots);
    const DeviceArray<T> d_hidden(std::vector<T>(tokens.size() * width, as_type<T>(-77)));

    EmbeddingNorm<T> call;
    call.tokens = d_tokens.data();
    call.rows = static_cast<uint32_t>(tokens.size());
    call.width = width;
    call.word = d_word.data();
    call.position = d_position.data();
    call.token_type = d_type.data();
    call.norm = {d_gamma.data(), d_beta.data()};
    call.epsilon = kEmbeddingEpsilon;
    call.slots = d_slots.data();
    call.tasks = {d_tasks.data(), 2};
    call.hidden = d_hidden.data();
    embedding_norm(Stream{}, call);

    const std::vector<T> found = d_hidden.read();
    for (size_t row = 0; row < tokens.size(); ++row) {
      const uint16_t slot = slots[row];
      const BoundedRow words = table_row(word, slot == 1 ? &words1 : slot == 2 ? &words2 : nullptr, tokens[row].id, width);
      const BoundedRow positions = table_row(position, slot == 2 ? &positions2 : nullptr, tokens[row].position, width);
      const BoundedRow types = table_row(type, slot == 2 ? &types2 : nullptr, tokens[row].token_type, width);
      const BoundedRow expected = layer_norm(words + types + positions, exact((slot == 1 ? own_gamma : gamma).data(), width),
                                             exact((slot == 1 ? own_beta : beta).data(), width), double{kEmbeddingEpsilon});
      for (uint32_t i = 0; i < width; ++i) {
        SCOPED_TRACE(::testing::Message() << "row " << row << " feature " << i);
        expect_rounded(found[row * width + i], expected[i]);
      }
    }
  }
}

}  // namespace
}  // namespace pets::kernels::cuda
