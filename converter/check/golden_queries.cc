#include "converter/check/golden_queries.h"

#include <algorithm>

namespace pets::converter {
namespace {

constexpr const char* kQuestion = "Who mended the bridge?";
constexpr const char* kShort = "A short text.";
constexpr const char* kMiddling =
    "In 1897 Ana Mendes mended the old bridge over the river for $3,200; \"it will outlive us all\", she wrote to her brother, and so far "
    "it has.";
constexpr const char* kLong =
    "The ferry left at dawn. Nobody on board had slept, since the storm of the night before had torn two sheets from the roof of the shed "
    "in which they waited, and the rain had found every blanket. By noon the wind had gone; the sea lay flat and grey like slate. "
    "A child counted gulls, lost count at 41, and began again. Someone shared bread & cheese, someone else a caf\xC3\xA9 cr\xC3\xA8me from "
    "a "
    "flask, still hot. When the island came into sight (first its lighthouse, then the hill, then the white houses on the quay), the "
    "captain sounded the horn three times. They were late by six hours, tired, hungry, and - as all of them said afterwards - happier "
    "than they had been for years.";

Golden of_text(const char* text) {
  Golden golden;
  golden.text = text;
  return golden;
}

Golden of_pair(const char* text, const char* pair) {
  Golden golden = of_text(text);
  golden.text_pair = pair;
  golden.has_text_pair = true;
  return golden;
}

/// Some sequence over the whole vocabulary, the same for ever.
Golden of_ids(uint32_t count, uint32_t vocabulary) {
  Golden golden;
  uint64_t id = 1;
  for (uint32_t i = 0; i < count; ++i) {
    golden.ids.push_back(static_cast<int32_t>(id % vocabulary));
    id = id * 48271 % 2147483647;  // Lehmer's generator with the constants of std::minstd_rand
  }
  return golden;
}

}  // namespace

std::vector<Golden> golden_queries(HeadType head, bool has_tokenizer, uint32_t vocabulary, uint32_t max_length) {
  if (!has_tokenizer) {
    std::vector<Golden> goldens;
    for (const uint32_t count : {3U, 17U, 64U}) goldens.push_back(of_ids(std::min(count, max_length), vocabulary));
    return goldens;
  }
  if (head == HeadType::kQuestionAnswering) return {of_pair(kQuestion, kMiddling), of_pair("when?", kLong)};
  return {of_text(kShort), of_text(kMiddling), of_text(kLong)};
}

const char* golden_question() { return kQuestion; }

}  // namespace pets::converter
