// A tokenizer as a bundle holds it, built in memory from tables.
#pragma once

#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/tokenizer/tables.h"
#include "runtime/tokenizer/tokenizer.h"
#include "schema/bundle_generated.h"

namespace pets::tokenizer::testing {

/// The bytes of a segment and of the FlatBuffer that describes it. Tests change them before create().
class BundledTokenizer {
 public:
  explicit BundledTokenizer(const WordPieceTables& tables) {
    const WordPieceArrays arrays = build_arrays(tables.vocabulary);
    bytes = append(arrays.bytes.data(), arrays.bytes.size(), schema::DataType::kUInt8, arrays.bytes.size());
    offsets = append(arrays.offsets.data(), arrays.offsets.size() * 4, schema::DataType::kUInt32, arrays.offsets.size());
    slots = append(arrays.slots.data(), arrays.slots.size() * 4, schema::DataType::kUInt32, arrays.slots.size());
    append(nullptr, 64, schema::DataType::kUInt8, 64);
    object.unknown_id = tables.unknown_id;
    object.class_id = tables.class_id;
    object.separator_id = tables.separator_id;
    object.continuation_prefix = tables.continuation_prefix;
    object.max_characters_per_word = tables.max_characters_per_word;
    object.clean_text = tables.clean_text;
    object.handle_chinese_characters = tables.handle_chinese_characters;
    object.lowercase = tables.lowercase;
    object.strip_accents = tables.strip_accents;
    added_tokens = tables.added_tokens;
    vocabulary_rows = static_cast<uint32_t>(tables.vocabulary.size());
    for (const AddedToken& token : added_tokens) vocabulary_rows = std::max(vocabulary_rows, token.id + 1);
  }

  struct TensorFields {
    uint64_t offset = 0, length = 0;
    schema::DataType dtype = schema::DataType::kUnknown;
    schema::Layout layout = schema::Layout::kPlain;
    std::vector<uint64_t> shape;
  };
  struct ObjectFields {
    uint32_t unknown_id = 0, class_id = 0, separator_id = 0, max_characters_per_word = 0;
    std::string continuation_prefix;
    bool clean_text = true, handle_chinese_characters = true, lowercase = true;
    schema::StripAccents strip_accents = schema::StripAccents::kAsLowercase;
  };

  /// Writes the FlatBuffer anew and makes the tokenizer. This object must outlive it.
  Result<WordPieceTokenizer> create() {
    builder_.Clear();
    std::vector<flatbuffers::Offset<schema::AddedToken>> added;
    for (const AddedToken& token : added_tokens) {
      added.push_back(schema::CreateAddedToken(builder_, token.id, builder_.CreateString(token.content), token.special, token.normalized,
                                               token.lstrip, token.rstrip, token.single_word));
    }
    const auto bytes_tensor = tensor(bytes), offsets_tensor = tensor(offsets), slots_tensor = tensor(slots);
    const auto prefix = builder_.CreateString(object.continuation_prefix);
    const auto list = builder_.CreateVector(added);
    builder_.Finish(schema::CreateWordPiece(builder_, bytes_tensor, offsets_tensor, slots_tensor, object.unknown_id, object.class_id,
                                            object.separator_id, prefix, object.max_characters_per_word, object.clean_text,
                                            object.handle_chinese_characters, object.lowercase, object.strip_accents, list));
    return WordPieceTokenizer::create(*flatbuffers::GetRoot<schema::WordPiece>(builder_.GetBufferPointer()), segment, vocabulary_rows);
  }

  uint32_t* values(const TensorFields& tensor) { return reinterpret_cast<uint32_t*>(segment.data() + tensor.offset); }

  std::vector<std::byte> segment;
  TensorFields bytes, offsets, slots;
  ObjectFields object;
  std::vector<AddedToken> added_tokens;
  uint32_t vocabulary_rows = 0;

 private:
  TensorFields append(const void* data, size_t length, schema::DataType dtype, uint64_t values) {
    TensorFields fields{segment.size(), length, dtype, schema::Layout::kPlain, {values}};
    segment.resize((segment.size() + length + 63) / 64 * 64);
    if (data != nullptr && length > 0) std::memcpy(segment.data() + fields.offset, data, length);
    return fields;
  }
  flatbuffers::Offset<schema::Tensor> tensor(const TensorFields& fields) {
    return schema::CreateTensor(builder_, fields.offset, fields.length, fields.dtype, fields.layout, builder_.CreateVector(fields.shape),
                                0);
  }

  flatbuffers::FlatBufferBuilder builder_;
};

/// A few words, letters, and BERT's special tokens.
inline WordPieceTables small_tables() {
  WordPieceTables tables;
  tables.vocabulary = {"[PAD]",       "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the",   "quick", "brown", "fox", "un",
                       "##want",      "##ed",  "runn",  "##ing", "hello",  "world", ",",     ".",     "!",   "[",
                       "]",           "a",     "##a",   "b",     "##b",    "i",     "##i",   "e",     "##e", "\xE4\xB8\xAD",
                       "\xE6\x96\x87"};
  tables.unknown_id = 1;
  tables.class_id = 2;
  tables.separator_id = 3;
  for (uint32_t id = 0; id < 5; ++id) tables.added_tokens.push_back({id, tables.vocabulary[id], true, false, false, false, false});
  return tables;
}

/// Prepares the added tokens, which a bundle holds sorted and normalized.
inline WordPieceTables prepared(WordPieceTables tables) {
  const Status status = prepare_added_tokens(tables);
  if (!status) tables.vocabulary.clear();  // create() will then say no
  return tables;
}

/// A tokenizer with everything that it needs. `tables` are prepared, as those of the converter are.
struct OwnedTokenizer {
  explicit OwnedTokenizer(const WordPieceTables& tables) : bundled(tables), result(bundled.create()) {
    if (result.is_ok()) scratch.resize(result->scratch_bytes());
  }

  Result<Encoding> encode(std::string_view text, uint32_t max_length = 4096) { return encode_any(text, {}, false, max_length); }
  Result<Encoding> encode_pair(std::string_view text, std::string_view pair, uint32_t max_length = 4096) {
    return encode_any(text, pair, true, max_length);
  }
  Result<Encoding> encode_any(std::string_view text, std::string_view pair, bool has_pair, uint32_t max_length) {
    if (tokens.size() < max_length) tokens.resize(max_length);
    return result->encode(text, pair, has_pair, max_length, {tokens.data(), max_length}, scratch);
  }

  BundledTokenizer bundled;
  Result<WordPieceTokenizer> result;
  std::vector<std::byte> scratch;
  std::vector<Token> tokens;
};

}  // namespace pets::tokenizer::testing
