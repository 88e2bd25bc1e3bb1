#include "converter/model/fingerprint.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdio>
#include <memory>

#include "converter/files/message_text.h"
#include "converter/huggingface/bert_names.h"

namespace pets::converter {

std::string base_fingerprint(const BaseModel& base) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  XXH3_128bits_reset(state.get());
  const auto add = [&](const void* data, size_t bytes) { XXH3_128bits_update(state.get(), data, bytes); };
  const auto add_text = [&](const std::string& text) { add(text.data(), text.size()); };

  char line[256];
  const int length = std::snprintf(
      line, sizeof(line),
      "bert hidden=%u layers=%u heads=%u intermediate=%u vocabulary=%u positions=%u token_types=%u epsilon=%.9g activation=%u\n",
      base.hidden, base.layers, base.heads, base.intermediate, base.vocabulary, base.positions, base.token_types,
      static_cast<double>(base.norm_epsilon), static_cast<unsigned>(base.activation));
  add(line, static_cast<size_t>(length));
  for (const Place& place : encoder_places(base.layers, base.pooler.has_value())) {
    add_text(tensor_of_place(place) + " " + shape_text(shape_of_place(base, place)) + "\n");
    const std::vector<float>& values = *values_of_place(base, place);
    add(values.data(), values.size() * sizeof(float));
  }
  add_text("tokenizer\n" + base.tokenizer.fingerprint_text);

  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  char text[33];
  std::snprintf(text, sizeof(text), "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text;
}

}  // namespace pets::converter
